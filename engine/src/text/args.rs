//! A cursor over the words of a command.
//!
//! It must not know any option's name or meaning.

use crate::text::word::{self, Refusal};
use alloc::format;

/// The words that are still to be read.
#[derive(Clone, Debug)]
pub struct Args<'a> {
    rest: &'a [&'a [u8]],
}

impl<'a> Args<'a> {
    #[must_use]
    pub fn new(words: &'a [&'a [u8]]) -> Args<'a> {
        Args { rest: words }
    }

    /// The next word, which stays.
    #[must_use]
    pub fn peek(&self) -> Option<&'a [u8]> {
        self.rest.first().copied()
    }

    /// Takes the next word.
    pub fn next_word(&mut self) -> Option<&'a [u8]> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// Takes the next word if it is this one, in either case.
    pub fn take(&mut self, word: &str) -> bool {
        let found = self
            .peek()
            .is_some_and(|next| next.eq_ignore_ascii_case(word.as_bytes()));
        if found {
            self.next_word();
        }
        found
    }

    /// Takes the value that has to follow `option`; `accepted` says what it may be.
    ///
    /// # Errors
    /// There are no more words.
    pub fn value_of(&mut self, option: &str, accepted: &str) -> Result<&'a [u8], Refusal> {
        self.next_word()
            .ok_or_else(|| Refusal::new(format!("{option} needs a value: {accepted}")))
    }

    /// Refuses the next word, which is nobody's.
    #[must_use]
    pub fn refuse_next(&self, accepted: &str) -> Refusal {
        Refusal::new(format!(
            "{} is not an option here: give {accepted}",
            word::shown(self.peek().unwrap_or_default())
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_in_their_order_and_once() {
        let words: [&[u8]; 3] = [b"a", b"B", b"c"];
        let mut args = Args::new(&words);
        assert_eq!(args.peek(), Some(&b"a"[..]));
        assert!(!args.take("b"));
        assert_eq!(args.next_word(), Some(&b"a"[..]));
        assert!(args.take("b"));
        assert_eq!(args.value_of("B", "x"), Ok(&b"c"[..]));
        assert_eq!(args.peek(), None);
        assert_eq!(args.next_word(), None);
        assert!(!args.take("c"));
    }

    #[test]
    fn a_missing_value_is_said_to_be_missing_and_what_it_may_be() {
        let error = Args::new(&[]).value_of("USER", "a user's name").unwrap_err();
        assert_eq!(error.to_string(), "USER needs a value: a user's name");
    }

    #[test]
    fn a_word_of_nobody_is_named_with_what_is_accepted() {
        let words: [&[u8]; 1] = [b"foo\n"];
        assert_eq!(
            Args::new(&words).refuse_next("x or y").to_string(),
            "'foo\\n' is not an option here: give x or y"
        );
    }
}
