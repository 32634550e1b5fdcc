//! The letters of `flags` in CLIENT LIST: one table of what each is, and of who may be closed that shows it.
//!
//! What a connection is doing, and which limits hold for it, is not known here.

/// Who may be closed that shows a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closable {
    /// As any client.
    Always,
    /// When replicas were named.
    Replica,
    /// When it was singled out.
    Protected,
    /// Nobody ever: a link of the server's own.
    Never,
}

/// Makes of a row for each letter its constant, and the table.
macro_rules! table {
    ($($(#[$is:meta])+ $letter:literal $name:ident $closable:ident;)+) => {
        $($(#[$is])+ pub const $name: u8 = $letter;)+

        /// All letters that some server shows, in the order in which servers print them; the last, [`NONE`], stands
        /// alone.
        pub const ALL: [u8; [$($letter),+].len()] = [$($letter),+];

        /// Who may be closed that shows this letter; one that is not known does not protect.
        #[must_use]
        pub const fn closable(letter: u8) -> Closable {
            match letter {
                $($letter => Closable::$closable,)+
                _ => Closable::Always,
            }
        }
    };
}

table! {
    /// A replica's link.
    b'S' REPLICA Replica;
    /// Runs MONITOR; stands in place of the replica's letter.
    b'O' MONITOR Protected;
    /// This server's link to its master.
    b'M' MASTER Never;
    /// Subscribed to something.
    b'P' PUBSUB Always;
    /// Between MULTI and EXEC.
    b'x' MULTI Always;
    /// Blocked, by whatever.
    b'b' BLOCKED Always;
    /// CLIENT TRACKING.
    b't' TRACKING Always;
    /// Tracking, and the client to which its invalidations were redirected is gone.
    b'R' TRACKING_BROKEN Always;
    /// Tracking in broadcasting mode.
    b'B' BROADCASTING Always;
    /// A key that it watched was changed: its EXEC will be refused.
    b'd' DIRTY Always;
    /// Closed when its reply has left.
    b'c' CLOSES_AFTER_REPLY Always;
    /// Unblocked in this round of the server's loop.
    b'u' UNBLOCKED Always;
    /// Closed before the next poll.
    b'A' CLOSING Always;
    /// Came over a Unix socket.
    b'U' UNIX Always;
    /// Reads only, of a cluster's replica.
    b'r' READONLY Always;
    /// CLIENT NO-EVICT.
    b'e' NO_EVICT Protected;
    /// CLIENT NO-TOUCH.
    b'T' NO_TOUCH Always;
    /// CLIENT IMPORT-SOURCE (Valkey 8.1).
    b'I' IMPORT_SOURCE Always;
    /// Brings slots in (Valkey 9).
    b'i' SLOT_IMPORT Never;
    /// Sends slots away (Valkey 9).
    b'E' SLOT_EXPORT Never;
    /// Moves slots (Redis 8.4); it has no type of its own.
    b'g' MIGRATION Never;
    /// Moves slots (Redis 8.4), likewise.
    b'o' MIGRATION_TOO Never;
    /// None of the others.
    b'N' NONE Always;
}
