//! CONNAGE.LIST: its option around the filters.

use crate::request::filter::Filter;
use crate::request::take_limit;
use crate::text::args::Args;
use crate::text::word::Refusal;
use alloc::format;

/// CONNAGE.LIST.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListRequest {
    pub filter: Filter,
    /// The most rows, above 0; the oldest first.
    pub limit: Option<u64>,
}

impl ListRequest {
    /// Reads the words after the command's name.
    ///
    /// # Errors
    /// A word that is unknown, a value that is missing or not accepted, an option given
    /// twice.
    pub fn parse(words: &[&[u8]]) -> Result<ListRequest, Refusal> {
        let mut args = Args::new(words);
        let mut request = ListRequest::default();
        while args.peek().is_some() {
            if request.filter.take(&mut args)? {
                // It was a filter, and is in there now.
            } else if args.take("LIMIT") {
                take_limit(&mut args, &mut request.limit)?;
            } else {
                return Err(args.refuse_next(&format!("any of {} and LIMIT", Filter::list())));
            }
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientType;
    use proptest::prelude::*;

    fn list(text: &str) -> Result<ListRequest, String> {
        let words: Vec<&[u8]> = text.split_terminator(' ').map(str::as_bytes).collect();
        ListRequest::parse(&words).map_err(|e| e.to_string())
    }

    #[test]
    fn list_takes_filters_and_a_limit_and_no_option_of_kill() {
        let request = list("TYPE master LIMIT 3 FLAGS M").unwrap();
        assert_eq!(request.limit, Some(3));
        assert_eq!(request.filter.names_type(), Some(ClientType::Master));
        assert_eq!(list(""), Ok(ListRequest::default()));
        for word in ["SKIPME", "GRACE", "OVER", "DRYRUN", "CANCEL", "x"] {
            let want = format!(
                "'{word}' is not an option here: give any of {} and LIMIT",
                Filter::list()
            );
            assert_eq!(list(&format!("{word} 5")), Err(want));
        }
        for (text, want) in [
            (
                "LIMIT 0",
                "LIMIT: '0' is not accepted: give a whole number above 0",
            ),
            ("LIMIT 1 LIMIT 1", "LIMIT: given twice: once is accepted"),
        ] {
            assert_eq!(list(text), Err(want.to_string()));
        }
    }

    proptest! {
        #[test]
        fn any_words_are_a_request_or_one_line_of_error(words: Vec<Vec<u8>>, option in "(|LIMIT|ID)") {
            let all = [option.as_bytes()].into_iter().chain(words.iter().map(Vec::as_slice));
            let all: Vec<&[u8]> = all.collect();
            if let Err(error) = ListRequest::parse(&all) {
                prop_assert!(!error.to_string().chars().any(char::is_control));
            }
        }
    }
}
