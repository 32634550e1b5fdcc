//! Lookups: when a server looks up the commands of a module, and goes on pointing to them, as far as unloading has to
//! know.

use crate::client::info_line;
use crate::text::time::{Micros, Millis};
use alloc::format;
use alloc::string::String;

/// So long nobody may have run a command of the module's, where threads look commands up.
const SILENCE_US: u64 = 1_000_000;
/// Who asks to unload again within this time insists.
const INSISTENCE: Millis = Millis(60_000);

/// The versions that a server tells of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Versions<'a> {
    pub valkey: Option<&'a str>,
    /// Of Valkey, the Redis that it is compatible with.
    pub redis: Option<&'a str>,
}

impl Versions<'_> {
    /// Where the server does not say what it is, or cannot be understood, it may be.
    fn are_at_least(&self, valkey: (u32, u32), redis: (u32, u32)) -> bool {
        let version = |text: &str| {
            let mut parts = text.split('.').map(str::parse::<u32>);
            Some((parts.next()?.ok()?, parts.next()?.ok()?))
        };
        let (told, least) = match self.valkey {
            Some(told) => (version(told), valkey),
            None => (self.redis.and_then(version), redis),
        };
        told.is_none_or(|version| version >= least)
    }

    /// Whether it looks up the commands of a pipeline before it executes the first of them.
    #[must_use]
    pub fn look_ahead(&self) -> bool {
        self.are_at_least((9, 0), (8, 4))
    }

    /// Whether its threads, where it has any, look up the commands that they read.
    #[must_use]
    pub fn look_up_in_threads(&self) -> bool {
        self.are_at_least((8, 0), (8, 0))
    }
}

/// Whether a server of this version (0x00MMmmpp) works out all ACL rules again when a module has gone, and ends where
/// one names what is not there.
#[must_use]
pub fn works_out_rules_again(version: i32) -> bool {
    version >= 0x0007_0200
}

/// The operator has been refused, and asks again.
#[derive(Debug, Default)]
pub struct Insistence {
    refused_at: Option<Micros>,
}

impl Insistence {
    pub fn refused(&mut self, now: Micros) {
        self.refused_at = Some(now);
    }

    #[must_use]
    pub fn insists(&self, now: Micros) -> bool {
        self.refused_at.is_some_and(|at| now < at.plus(INSISTENCE))
    }
}

/// Whether MODULE LOADEX is taking back what it has just loaded, so that nobody can point to its commands: the full
/// name of the command is the server's own, whatever `rename-command` says.
#[must_use]
pub fn is_being_taken_back(clients: &[u8], us_since_loading: u64) -> bool {
    let is_loadex =
        || info_line::lines(clients).any(|client| client.argv_mem > 0 && client.cmd.ends_with(b"|loadex"));
    us_since_loading < SILENCE_US && is_loadex()
}

/// Whether the client with this id is the one that unloads.
#[must_use]
pub fn unloads(clients: &[u8], id: u64) -> bool {
    info_line::lines(clients).any(|client| client.id.0 == id && client.cmd.ends_with(b"|unload"))
}

/// A thread may be looking up one of the module's commands at this very moment, unless nobody but the one who unloads
/// has run any for a while.
///
/// # Errors
/// Somebody has.
pub fn silence(us_since_others: u64) -> Result<(), String> {
    if us_since_others >= SILENCE_US {
        return Ok(());
    }
    Err(format!(
        "a command of the module was run, or the module loaded, {} ms ago, and the server reads with threads \
         (io-threads), which look commands up ahead: have clients run none for a second, and try again",
        us_since_others / 1_000
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_servers_look_commands_up_early_is_known_by_their_version_and_in_doubt_they_do() {
        // The versions of Valkey and Redis that it tells; whether it looks ahead, and whether threads look up.
        let cases: [(Option<&str>, Option<&str>, bool, bool); 12] = [
            (None, Some("7.0.15"), false, false),
            (None, Some("7.4.1"), false, false),
            (None, Some("8.0.2"), false, true),
            (None, Some("8.2.3"), false, true),
            (None, Some("8.4.0"), true, true),
            (None, Some("10.0.0"), true, true),
            (Some("7.2.9"), Some("7.2.4"), false, false),
            (Some("8.1.8"), Some("7.2.4"), false, true),
            (Some("9.0.0"), Some("7.2.4"), true, true),
            (Some("?"), Some("7.2.4"), true, true),
            (None, Some("255"), true, true),
            (None, None, true, true),
        ];
        for (valkey, redis, ahead, threads) in cases {
            let versions = Versions { valkey, redis };
            let got = (versions.look_ahead(), versions.look_up_in_threads());
            assert_eq!(got, (ahead, threads), "{valkey:?} {redis:?}");
        }
        let works_out = [0x0007_000f, 0x0007_0200, 0x0008_0203].map(works_out_rules_again);
        assert_eq!(works_out, [false, true, true]);
    }

    #[test]
    fn who_asks_again_within_a_minute_insists() {
        let mut insistence = Insistence::default();
        assert!(!insistence.insists(Micros(5)));
        insistence.refused(Micros(5));
        assert!(insistence.insists(Micros(60_000_004)));
        assert!(!insistence.insists(Micros(60_000_005)));
    }

    #[test]
    fn loadex_takes_back_only_what_it_has_just_loaded() {
        let loadex = b"id=3 addr=a:1 argv-mem=9 cmd=module|loadex\n";
        assert!(is_being_taken_back(loadex, 999_999));
        assert!(!is_being_taken_back(loadex, 1_000_000));
        // It was the last command, and is over.
        assert!(!is_being_taken_back(b"id=3 argv-mem=0 cmd=module|loadex\n", 5));
        assert!(!is_being_taken_back(b"id=3 argv-mem=9 cmd=module|load\n", 5));
        assert!(!is_being_taken_back(b"", 5));
    }

    #[test]
    fn only_the_one_who_unloads_is_excused_from_silence() {
        let clients = b"id=3 cmd=module|unload\nid=4 cmd=connage.self\n";
        assert_eq!([3, 4, 5].map(|id| unloads(clients, id)), [true, false, false]);
        assert_eq!(silence(1_000_000), Ok(()));
        let refusal = silence(999_999).unwrap_err();
        assert!(refusal.contains(" 999 ms ago"), "{refusal}");
    }
}
