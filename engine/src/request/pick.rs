//! Pick: where to look for the connections that a command means, and which of those found KILL takes.
//!
//! It must not know which connections there are: it is told of each.

use alloc::collections::BTreeSet;
use alloc::format;

use crate::client::{Client, ClientId};
use crate::request::filter::Filter;
use crate::request::kill::{master_refused, Kill};
use crate::request::list::ListRequest;
use crate::text::time::Millis;
use crate::text::word::Refusal;

/// Where to look. All but `All` spare a walk over all clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidates<'a> {
    All,
    These(&'a BTreeSet<ClientId>),
    AtLeast(Millis),
    /// So many of the oldest.
    Oldest(usize),
    /// Those that may be past their own limit.
    PastLimit,
}

/// LIST looks at so many more than it is asked for, in case some are gone meanwhile.
const SPARE: u64 = 16;

impl Filter {
    fn candidates(&self) -> Candidates<'_> {
        match (self.ids(), self.maxage()) {
            (Some(ids), _) => Candidates::These(ids),
            (None, Some(age)) if !self.needs_client() => Candidates::AtLeast(age),
            _ => Candidates::All,
        }
    }
}

impl ListRequest {
    #[must_use]
    pub fn candidates(&self) -> Candidates<'_> {
        match self.limit {
            Some(limit) if self.filter.is_empty() => {
                Candidates::Oldest(usize::try_from(limit.saturating_add(SPARE)).unwrap_or(usize::MAX))
            }
            _ => self.filter.candidates(),
        }
    }
}

impl Kill {
    #[must_use]
    pub fn candidates(&self) -> Candidates<'_> {
        if self.filter.is_empty() {
            Candidates::PastLimit
        } else {
            self.filter.candidates()
        }
    }

    /// Whether `caller` closes `client`, which is `age` old. Whether it is past its own limit, and whether it awaits
    /// a link, is asked only where it decides.
    ///
    /// # Errors
    /// It is the link to the master, and named by its id.
    pub fn picks(
        &self,
        caller: ClientId,
        client: &Client<'_>,
        age: Millis,
        is_past_limit: impl FnOnce() -> bool,
        awaits_link: impl FnOnce() -> bool,
    ) -> Result<bool, Refusal> {
        let filter = &self.filter;
        if self.skipme && client.id == caller || client.is_closing() {
            return Ok(false);
        }
        let is_meant = if filter.is_empty() {
            is_past_limit()
        } else {
            filter.matches(client, age)
        };
        if is_meant && filter.names_id() && client.is_master() {
            return Err(master_refused(&format!("ID {}", client.id)));
        }
        Ok(is_meant && filter.allows(client, awaits_link))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::KillRequest;

    const CALLER: ClientId = ClientId(1);
    const OTHER: ClientId = ClientId(2);

    fn words(text: &str) -> Vec<&[u8]> {
        text.split_terminator(' ').map(str::as_bytes).collect()
    }

    fn kill(text: &str) -> Kill {
        match KillRequest::parse(&words(text)) {
            Ok(KillRequest::Close(kill)) => kill,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn nothing_walks_all_clients_where_id_or_age_or_a_limit_tell_where_to_look() {
        let ids = BTreeSet::from([CALLER, OTHER]);
        let old = Candidates::AtLeast(Millis(5));
        for (text, of_kill, of_list) in [
            ("", Candidates::PastLimit, Candidates::All),
            ("LIMIT 3", Candidates::PastLimit, Candidates::Oldest(19)),
            ("ID 1 2", Candidates::These(&ids), Candidates::These(&ids)),
            (
                "ID 1 2 USER u MAXAGE 5 LIMIT 3",
                Candidates::These(&ids),
                Candidates::These(&ids),
            ),
            ("MAXAGE 5", old, old),
            ("MAXAGE 5 NOT-ID 1 LIMIT 3", old, old),
            ("MAXAGE 5 USER u", Candidates::All, Candidates::All),
            ("NOT-ID 1", Candidates::All, Candidates::All),
            ("USER u LIMIT 3", Candidates::All, Candidates::All),
        ] {
            assert_eq!(kill(text).candidates(), of_kill, "KILL {text}");
            let list = ListRequest::parse(&words(text)).unwrap();
            assert_eq!(list.candidates(), of_list, "LIST {text}");
        }
        let all = format!("LIMIT {}", u64::MAX);
        let list = ListRequest::parse(&words(&all)).unwrap();
        assert_eq!(list.candidates(), Candidates::Oldest(usize::MAX));
    }

    #[test]
    fn kill_picks_whom_the_filter_means_and_may_reach_but_the_caller() {
        let by_id = "ID 2 names the link to the master, which CONNAGE.KILL never closes: use CLIENT KILL";
        let [yes, no, refused] = [Ok(true), Ok(false), Err(by_id)];
        // The words, who it is, its flags, whether it is past its limit, whether it awaits a link.
        for (text, id, flags, is_past_limit, awaits_link, want) in [
            // Without a filter the limit decides.
            ("", OTHER, "N", true, false, yes),
            ("", OTHER, "N", false, false, no),
            ("", OTHER, "O", true, false, no),
            ("", OTHER, "N", true, true, no),
            ("", OTHER, "M", true, false, no),
            // With one it does, whatever the limit is.
            ("MAXAGE 10", OTHER, "N", false, false, yes),
            ("MAXAGE 11", OTHER, "N", true, false, no),
            ("MAXAGE 10", OTHER, "N", true, true, no),
            ("ID 2", OTHER, "S", false, true, yes),
            ("ID 2", OTHER, "O", false, false, yes),
            ("TYPE normal", OTHER, "O", false, false, no),
            ("ID 3", OTHER, "N", true, false, no),
            // The caller.
            ("", CALLER, "N", true, false, no),
            ("SKIPME no", CALLER, "N", true, false, yes),
            ("ID 1", CALLER, "N", false, false, no),
            ("ID 1 SKIPME no", CALLER, "N", false, false, yes),
            // Whoever is being closed already is not counted again.
            ("", OTHER, "A", true, false, no),
            ("ID 2", OTHER, "A", false, false, no),
            ("ID 2", OTHER, "MA", false, false, no),
            // The master's link is refused by id alone, and only if it is meant.
            ("ID 2", OTHER, "M", false, false, refused),
            ("ID 2 MAXAGE 10", OTHER, "M", false, true, refused),
            ("ID 2 MAXAGE 11", OTHER, "M", false, false, no),
            ("MAXAGE 10", OTHER, "M", false, false, no),
            ("NOT-ID 1", OTHER, "M", false, false, no),
        ] {
            let client = Client {
                flags: flags.as_bytes(),
                ..Client::unknown(id)
            };
            let picks = kill(text).picks(CALLER, &client, Millis(10), || is_past_limit, || awaits_link);
            let picks = picks.map_err(|error| error.to_string());
            assert_eq!(
                picks.as_ref().map_err(String::as_str),
                want.as_ref().map_err(|error| *error),
                "KILL {text}: {id} {flags} {is_past_limit} {awaits_link}"
            );
        }
    }
}
