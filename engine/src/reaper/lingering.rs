//! Lingering: who lingers, whose turn it is to be looked at, and whether one more may.
//!
//! Knows of sockets only what [`Socket`] says.

use crate::client::manner::CloseError;
use crate::client::ClientId;
use crate::reaper::linger::{most_clients, Peer, Room, Stay, Warning};
use crate::text::time::{Micros, Millis};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;

/// How long nobody lingers after no number could be had: somebody has lowered the limit, or taken many.
const PAUSE: Millis = Millis(10_000);

/// One that lingers.
#[derive(Debug)]
struct One<S> {
    socket: S,
    /// The server has let go of its own descriptor.
    freed: bool,
    stay: Stay,
}

/// What is done with the socket of one that lingers.
pub trait Socket {
    /// Sends an end of stream.
    fn send_end(&self);
    /// What it tells of its client; what came in is read and thrown away.
    fn look(&self) -> Peer;
    /// It is over, or its client has had its time: whatever that still sends is to fail.
    fn let_go(self);
    /// The kernel alone goes on delivering what it holds.
    fn leave_to_the_kernel(self);
}

/// At most so many are looked after in one go, 2 to 3 µs each: after the loop has stood still all are due.
const LOOKS: usize = 256;

/// All that linger, with sockets of the kind `S`.
#[derive(Debug)]
pub struct Lingering<S> {
    all: BTreeMap<ClientId, One<S>>,
    looks: BTreeSet<(Micros, ClientId)>,
    room: Room,
    /// The limit of descriptors that leaves this room, and the server's `maxclients` that leave it.
    limit: u64,
    max_clients: u64,
    /// The room has been used up for a moment.
    was_full: bool,
    warning: Warning,
    /// No number could be had: nobody lingers until then.
    refused_until: Option<Micros>,
    /// The kernel has refused to drop what clients send (a sandbox may forbid it).
    drops_no_input: bool,
}

impl<S> Default for Lingering<S> {
    fn default() -> Self {
        Lingering {
            all: BTreeMap::new(),
            looks: BTreeSet::new(),
            room: Room::default(),
            limit: 0,
            max_clients: 0,
            was_full: false,
            warning: Warning::default(),
            refused_until: None,
            drops_no_input: false,
        }
    }
}

impl<S: Socket> Lingering<S> {
    /// What the server takes at most; where it does not tell, `limit` of descriptors tells.
    pub fn set_max_clients(&mut self, max_clients: Option<u64>, limit: impl FnOnce() -> u64) {
        self.max_clients = max_clients.unwrap_or_else(|| most_clients(limit()));
    }

    /// The limit of descriptors that leaves as much room as is wanted.
    #[must_use]
    pub fn needed(&self) -> u64 {
        Room::needed(self.max_clients)
    }

    /// The limit of descriptors is this.
    pub fn measured(&mut self, limit: u64) {
        self.room = Room::within(limit, self.max_clients);
        self.limit = limit;
    }

    #[must_use]
    pub fn room(&self) -> Room {
        self.room
    }

    /// The limit of descriptors has to be measured again: a while ago no number could be had.
    pub fn is_to_be_measured(&mut self, now: Micros) -> bool {
        self.refused_until.take_if(|until| *until <= now).is_some()
    }

    /// So many more may linger.
    #[must_use]
    pub fn left(&self) -> usize {
        self.room.most.saturating_sub(self.all.len())
    }

    /// So many linger now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// The lowest number that a duplicate may have.
    ///
    /// # Errors
    /// There is none.
    pub fn lowest(&self) -> Result<i32, CloseError> {
        if self.room.most == 0 {
            return Err(CloseError::NoNumber);
        }
        Ok(self.room.lowest)
    }

    /// Remembers of a refusal what concerns all.
    ///
    /// # Errors
    /// The refusal.
    pub fn heed<T>(&mut self, now: Micros, done: Result<T, CloseError>) -> Result<T, CloseError> {
        match done {
            Err(CloseError::NoNumber) => {
                self.room.most = 0;
                self.was_full = true;
                self.refused_until = Some(now.plus(PAUSE));
            }
            Err(CloseError::Forbidden) => self.drops_no_input = true,
            Err(CloseError::ThisSocket) | Ok(_) => {}
        }
        done
    }

    #[must_use]
    pub fn can_drop_input(&self) -> bool {
        !self.drops_no_input
    }

    /// One more lingers. Its end of stream is sent at once, but over TLS, where the server's close_notify has to go
    /// first.
    pub fn begin(&mut self, now: Micros, id: ClientId, socket: S, tls: bool) {
        let mut stay = Stay::new(now);
        let at = if tls {
            now
        } else {
            socket.send_end();
            stay.end_sent(now)
        };
        let one = One {
            socket,
            freed: false,
            stay,
        };
        self.put(at, id, one);
        self.was_full |= self.left() == 0;
    }

    fn put(&mut self, at: Micros, id: ClientId, one: One<S>) {
        self.looks.insert((at, id));
        self.all.insert(id, one);
    }

    /// The server is letting go of a connection.
    pub fn freed(&mut self, id: ClientId) {
        if let Some(one) = self.all.get_mut(&id) {
            one.freed = true;
        }
    }

    /// When the next one's turn is.
    #[must_use]
    pub fn next(&self) -> Option<Micros> {
        self.looks.first().map(|(at, _)| *at)
    }

    /// Looks after those whose turn it is. Never inside the event that frees a connection: only when that event's
    /// round is over has the server let go.
    pub fn step(&mut self, now: Micros) {
        for _ in 0..LOOKS {
            let Some((at, id)) = self.looks.first().copied().filter(|(at, _)| *at <= now) else {
                return;
            };
            self.looks.remove(&(at, id));
            let Some(mut one) = self.all.remove(&id) else {
                continue;
            };
            if one.freed && !one.stay.has_sent_end() {
                one.socket.send_end();
                let at = one.stay.end_sent(now);
                self.put(at, id, one);
                continue;
            }
            let peer = one.socket.look();
            match one.stay.next_look(now, &peer) {
                Some(at) => self.put(at, id, one),
                None if peer.has_all || peer.is_over => one.socket.let_go(),
                None => one.socket.leave_to_the_kernel(),
            }
        }
    }

    /// The module goes, or can't look after them any more.
    pub fn leave_all_to_the_kernel(&mut self) {
        self.looks.clear();
        let all = core::mem::take(&mut self.all);
        for one in all.into_values() {
            one.socket.leave_to_the_kernel();
        }
    }

    /// For another number each.
    pub fn sockets_mut(&mut self) -> impl Iterator<Item = &mut S> {
        self.all.values_mut().map(|one| &mut one.socket)
    }

    /// What the log is to say, each time that room has ended, but not without end.
    pub fn warning(&mut self, now: Micros) -> Option<String> {
        let was_full = core::mem::take(&mut self.was_full);
        let is_due = self.warning.is_due(now, was_full || self.left() == 0);
        is_due.then(|| {
            format!(
                "no room for evicted connections to linger in: the limit of open files is {}, and maxclients {} \
                 needs {} (LimitNOFILE, ulimit -n); some clients may see a reset in place of a clean end",
                self.limit,
                self.max_clients,
                self.needed(),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::rc::Rc;
    use alloc::string::ToString;
    use alloc::vec::Vec;
    use core::cell::RefCell;

    const SECOND: u64 = 1_000_000;

    /// A socket that tells what is done with it.
    struct Told {
        peer: Peer,
        told: Rc<RefCell<Vec<&'static str>>>,
    }

    impl Socket for Told {
        fn send_end(&self) {
            self.told.borrow_mut().push("end");
        }

        fn look(&self) -> Peer {
            self.told.borrow_mut().push("look");
            self.peer
        }

        fn let_go(self) {
            self.told.borrow_mut().push("let go");
        }

        fn leave_to_the_kernel(self) {
            self.told.borrow_mut().push("left");
        }
    }

    const READING: Peer = Peer {
        is_over: false,
        has_all: false,
        has_read: false,
        sends: Some(false),
        round_trip_us: 0,
    };

    fn lingering(most: u64) -> Lingering<Told> {
        let mut lingering = Lingering::default();
        lingering.set_max_clients(Some(1_000), || 0);
        lingering.measured(1_128 + 64 + most);
        lingering
    }

    fn told(peer: Peer) -> (Told, Rc<RefCell<Vec<&'static str>>>) {
        let told = Rc::new(RefCell::new(Vec::new()));
        let socket = Told {
            peer,
            told: Rc::clone(&told),
        };
        (socket, told)
    }

    #[test]
    fn an_end_is_sent_at_once_but_over_tls_only_once_the_server_has_let_go() {
        let mut all = lingering(2);
        let ((plain, of_plain), (tls, of_tls)) = (told(READING), told(READING));
        all.begin(Micros(0), ClientId(1), plain, false);
        all.begin(Micros(0), ClientId(2), tls, true);
        all.step(Micros(1_000));
        assert_eq!(
            (&of_plain.borrow()[..], &of_tls.borrow()[..]),
            (&["end"][..], &["look"][..])
        );
        all.freed(ClientId(1));
        all.freed(ClientId(2));
        all.step(Micros(2_000));
        assert_eq!(
            (of_plain.borrow().len(), of_tls.borrow().last()),
            (1, Some(&"end"))
        );
        all.step(Micros(3_000));
        assert_eq!(of_tls.borrow().len(), 2, "its turn is not yet");
    }

    #[test]
    fn whoever_has_all_or_is_over_is_let_go_and_the_rest_are_left_to_the_kernel() {
        let over = Peer {
            is_over: true,
            ..READING
        };
        let has_read = Peer {
            has_all: true,
            has_read: true,
            ..READING
        };
        for (peer, last) in [(over, "let go"), (has_read, "let go"), (READING, "left")] {
            let mut all = lingering(1);
            let (socket, told) = told(peer);
            all.begin(Micros(0), ClientId(1), socket, false);
            while let Some(at) = all.next() {
                assert!(at <= Micros(31 * SECOND), "{peer:?}");
                all.step(at);
            }
            assert_eq!(told.borrow().last(), Some(&last), "{peer:?}");
            assert_eq!(all.count(), 0, "{peer:?}");
        }
    }

    #[test]
    fn all_are_left_to_the_kernel_when_nobody_looks_after_them_any_more() {
        let mut all = lingering(1);
        let (socket, told) = told(READING);
        all.begin(Micros(0), ClientId(1), socket, true);
        all.leave_all_to_the_kernel();
        assert_eq!(told.borrow()[..], ["left"]);
        assert_eq!((all.count(), all.next()), (0, None));
    }

    #[test]
    fn after_the_loop_has_stood_still_only_so_many_are_looked_after_in_one_go() {
        let mut all = lingering(10_000);
        for id in 0..1_000 {
            all.begin(Micros(0), ClientId(id), told(READING).0, false);
        }
        all.step(Micros(31 * SECOND));
        assert_eq!(all.count(), 1_000 - LOOKS);
        assert!(all.next() <= Some(Micros(31 * SECOND)), "the rest are still due");
    }

    #[test]
    fn room_is_for_so_many_and_that_it_ends_is_told_with_what_is_needed() {
        let mut all = lingering(2);
        assert_eq!((all.left(), all.lowest()), (2, Ok(1_128)));
        assert_eq!(all.warning(Micros(0)), None);
        all.begin(Micros(0), ClientId(1), told(READING).0, false);
        assert_eq!(all.warning(Micros(0)), None);
        all.begin(Micros(0), ClientId(2), told(READING).0, false);
        let warning = all.warning(Micros(0)).expect("a warning");
        assert!(
            warning.contains("open files is 1194, and maxclients 1000 needs 2329"),
            "{warning}"
        );
        assert_eq!(all.warning(Micros(SECOND)), None, "told once");
    }

    #[test]
    fn where_no_number_can_be_had_nobody_lingers_until_the_limit_is_measured_again() {
        let mut all = lingering(2);
        let refused: Result<(), CloseError> = all.heed(Micros(0), Err(CloseError::NoNumber));
        assert_eq!(refused, Err(CloseError::NoNumber));
        assert_eq!((all.left(), all.lowest()), (0, Err(CloseError::NoNumber)));
        assert!(!all.is_to_be_measured(Micros(9 * SECOND)));
        assert!(all.is_to_be_measured(Micros(10 * SECOND)));
        assert!(!all.is_to_be_measured(Micros(10 * SECOND)), "once");
        all.measured(1_300);
        assert_eq!(all.left(), 107);
        assert!(
            all.warning(Micros(10 * SECOND)).is_some(),
            "it was full for a moment"
        );
    }

    #[test]
    fn that_the_kernel_drops_nothing_for_one_socket_says_nothing_of_others() {
        let mut all = lingering(1);
        assert!(all.heed::<()>(Micros(0), Err(CloseError::ThisSocket)).is_err());
        assert!(all.can_drop_input() && all.left() == 1);
        assert!(all.heed::<()>(Micros(0), Err(CloseError::Forbidden)).is_err());
        assert!(!all.can_drop_input() && all.left() == 1);
    }

    #[test]
    fn a_server_that_does_not_tell_its_most_clients_is_known_by_its_limit() {
        let mut all = Lingering::<Told>::default();
        all.set_max_clients(None, || 10_032);
        all.measured(10_032);
        let warning = all.warning(Micros(0)).map(|text| text.to_string());
        assert!(warning.is_some_and(|text| text.contains("maxclients 10000 ")));
    }
}
