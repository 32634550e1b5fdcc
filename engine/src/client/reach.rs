//! Reach: whom age and KILL may close, by what a connection is now. The one place that knows.
//!
//! Must not know limits, nor what a connection is doing.

use crate::client::flag::{self, Closable};
use crate::client::Client;

/// Which connections a command may close beyond normal and pubsub ones, because it named them. Age reaches none
/// of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    pub replicas: bool,
    /// Monitors and `CLIENT NO-EVICT` clients.
    pub protected: bool,
}

impl Reach {
    pub const AGE: Reach = Reach {
        replicas: false,
        protected: false,
    };

    /// Whether `client` may be closed. All that it is has to be named: a replica with NO-EVICT is both. Whoever
    /// `awaits_link`, which is asked only where it decides, will be a replica's link, or one that moves slots.
    #[must_use]
    pub fn allows(self, client: &Client, awaits_link: impl FnOnce() -> bool) -> bool {
        client
            .flags
            .iter()
            .all(|letter| self.allows_letter(flag::closable(*letter)))
            && (self.replicas || !awaits_link())
    }

    fn allows_letter(self, closable: Closable) -> bool {
        match closable {
            Closable::Always => true,
            Closable::Replica => self.replicas,
            Closable::Protected => self.protected,
            Closable::Never => false,
        }
    }

    #[must_use]
    pub fn or(self, other: Reach) -> Reach {
        Reach {
            replicas: self.replicas || other.replicas,
            protected: self.protected || other.protected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientId;

    #[test]
    fn all_that_a_connection_is_has_to_be_within_reach() {
        // By age, named as a replica, named as protected, as both.
        for (flags, expected) in [
            ("N", [true; 4]),
            ("Pxbtu", [true; 4]),
            ("O", [false, false, true, true]),
            ("e", [false, false, true, true]),
            ("OPe", [false, false, true, true]),
            ("S", [false, true, false, true]),
            ("Se", [false, false, false, true]),
            ("SO", [false, false, false, true]),
            ("M", [false; 4]),
            ("SM", [false; 4]),
            ("Me", [false; 4]),
            ("i", [false; 4]),
            ("SE", [false; 4]),
            ("Sg", [false; 4]),
            ("oe", [false; 4]),
        ] {
            let client = Client {
                flags: flags.as_bytes(),
                ..Client::unknown(ClientId(1))
            };
            let reaches = [(false, false), (true, false), (false, true), (true, true)];
            let reaches = reaches.map(|(replicas, protected)| Reach { replicas, protected });
            let allowed = reaches.map(|reach| reach.allows(&client, || false));
            assert_eq!(allowed, expected, "{flags}");
            let allowed = reaches.map(|reach| reach.allows(&client, || true));
            let [_, replica, _, both] = expected;
            assert_eq!(
                allowed,
                [false, replica, false, both],
                "{flags}, and it awaits a link"
            );
        }
        assert_eq!(Reach::AGE, Reach::default());
        for letter in 0..=u8::MAX {
            let never = flag::closable(letter) == Closable::Never;
            assert_eq!(never, b"MiEgo".contains(&letter), "{letter}");
        }
    }
}
