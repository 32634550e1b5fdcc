//! A share of a limit, in percent. It must not know what it is a share of.

use alloc::format;
use core::fmt;

use crate::text::word::{self, Refusal};

/// 0 to [`Percent::MAX`] percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(pub u8);

impl Percent {
    /// The most jitter there is. Less than everything, so that every limit keeps some length.
    pub const MAX: Percent = Percent(90);

    /// Reads a whole number from 0 to 90, without a percent sign.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &[u8]) -> Result<Percent, Refusal> {
        word::whole(text)
            .and_then(|n| u8::try_from(n).ok())
            .map(Percent)
            .filter(|percent| *percent <= Percent::MAX)
            .ok_or_else(|| {
                Refusal::new(format!(
                    "{} is not a share: give a whole number of percent, 0 to {}",
                    word::shown(text),
                    Percent::MAX
                ))
            })
    }
}

impl fmt::Display for Percent {
    /// The plain number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_share_up_to_the_most_reads_back() {
        for n in 0..=Percent::MAX.0 {
            assert_eq!(Percent::parse(n.to_string().as_bytes()), Ok(Percent(n)));
        }
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for text in ["", "91", "100", "256", "-1", "5%", "1.5", "05", "x"] {
            let error = Percent::parse(text.as_bytes()).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("'{text}' is not a share: give a whole number of percent, 0 to 90")
            );
        }
    }
}
