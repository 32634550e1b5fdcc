//! Linger: duplicates of closed connections' sockets that only read, until all that was sent has
//! arrived. Nothing read here is ever executed.
//!
//! As nginx's `lingering_close`: the kernel answers a byte that comes for a closed socket with a
//! reset, and throws away what it had not delivered.

use crate::kernel::{limits, socket};
use connage_engine::client::manner::Refusal;
use connage_engine::client::ClientId;
use connage_engine::reaper::linger::{most_clients, Peer, Room, Stay, Warning, WANTED};
use connage_engine::text::time::{Micros, Millis};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::raw::c_int;

/// How long nobody lingers after no number could be had: somebody has lowered the limit, or taken many.
const PAUSE: Millis = Millis(10_000);

/// At most so many are looked after in one go, 2 to 3 µs each: after the loop has stood still all are due.
const LOOKS: usize = 256;

#[derive(Debug)]
struct Held {
    fd: c_int,
    /// The server has not said goodbye yet, in TLS's own words.
    tls: bool,
    /// What comes in is dropped, and the reading half shut: only the socket's state tells of the peer.
    deaf: bool,
    /// It was sending when it was closed, and its kernel sends again, late, what a gate has dropped.
    gated: bool,
    unix: bool,
    /// The server has let go of its own descriptor.
    freed: bool,
    stay: Stay,
}

impl Held {
    /// Out of the way of the server's clients, where there is a number.
    fn move_up(&mut self, lowest: c_int) {
        if self.fd >= lowest {
            return;
        }
        if let Ok(fd) = socket::duplicate(self.fd, lowest) {
            socket::close(std::mem::replace(&mut self.fd, fd));
        }
    }

    fn peer(&self) -> Peer {
        let came = if self.deaf {
            (!socket::is_closed(self.fd)).then_some(0)
        } else {
            socket::discard_input(self.fd)
        };
        // Most have closed by the first look: that is all there is to ask then.
        let has_read = came.is_some() && socket::unacked(self.fd).unwrap_or(0) == 0;
        // What is sent over a unix socket is in its peer's hands, read or not.
        let has_all = came.is_some() && (has_read || self.unix);
        let round_trip_us = if has_all {
            socket::round_trip_us(self.fd)
        } else {
            None
        };
        Peer {
            is_over: came.is_none(),
            has_all,
            has_read,
            sends: came.filter(|_| !self.deaf && !self.gated).map(|bytes| bytes > 0),
            round_trip_us: round_trip_us.unwrap_or(0),
        }
    }

    /// Whatever its client still sends fails, even while a forked child holds the socket open.
    fn let_go(self) {
        if self.deaf {
            socket::keep_payload(self.fd);
        }
        socket::shut(self.fd);
    }

    /// The kernel alone goes on delivering what it holds.
    fn leave_to_the_kernel(self) {
        // Where it refuses, a byte of its client's meets a reset.
        let _ = socket::drop_payload(self.fd);
        let _ = socket::discard_input(self.fd);
        if !self.tls {
            socket::shut_writing(self.fd);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        socket::close(self.fd);
    }
}

/// Whom an error concerns: one socket, unless it is known better.
fn refusal(error: &io::Error) -> Refusal {
    match error.raw_os_error() {
        // The limit lies below the lowest number, or all above it are taken.
        Some(libc::EINVAL | libc::EMFILE) => Refusal::NoNumber,
        Some(libc::EPERM | libc::EACCES) => Refusal::Forbidden,
        _ => Refusal::ThisSocket,
    }
}

/// What is to be known of one that is to linger.
#[derive(Clone, Copy, Debug)]
pub struct Holding {
    pub tls: bool,
    pub deaf: bool,
    pub gated: bool,
    pub unix: bool,
}

/// All that linger.
#[derive(Debug, Default)]
pub struct Linger {
    held: BTreeMap<ClientId, Held>,
    looks: BTreeSet<(Micros, ClientId)>,
    /// The server's `maxclients`.
    max_clients: u64,
    /// That has been changed, to what is not known yet.
    is_stale: bool,
    room: Room,
    /// The limit of descriptors that leaves it.
    limit: u64,
    /// It has been used up for a moment.
    was_full: bool,
    warning: Warning,
    /// No number could be had: nobody lingers until then.
    refused_until: Option<Micros>,
    /// The kernel has refused to drop what clients send (a sandbox may forbid it).
    cannot_deafen: bool,
}

impl Linger {
    /// What the server takes at most has changed: asked for as soon as may be, since its new clients take the
    /// numbers of duplicates.
    pub fn max_clients_changed(&mut self) {
        self.is_stale = true;
    }

    pub fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// `None`: the server does not tell.
    pub fn set_max_clients(&mut self, max_clients: Option<u64>) {
        self.is_stale = false;
        self.max_clients = max_clients.unwrap_or_else(|| most_clients(limits::raise_descriptor_limit(0)));
        self.measure();
    }

    /// A server that raised its soft limit itself raised it to just what its clients take: it is raised a
    /// little more, within the hard limit, which is the operator's.
    fn measure(&mut self) {
        let limit = limits::raise_descriptor_limit(Room::needed(self.max_clients));
        let room = Room::within(limit, self.max_clients);
        self.limit = limit;
        if self.room.lowest != room.lowest && room.most > 0 {
            // The kernel makes its table larger for the first of these numbers, and lets a process with
            // threads wait for 10 ms: better now than at an eviction.
            let wanted = WANTED.min(room.most as u64) as c_int;
            limits::make_room_for(room.lowest.saturating_add(wanted - 1));
        }
        self.room = room;
        self.held.values_mut().for_each(|held| held.move_up(room.lowest));
    }

    pub fn room(&mut self, now: Micros) -> usize {
        if self.refused_until.is_some_and(|until| until <= now) {
            self.refused_until = None;
            self.measure();
        }
        self.left()
    }

    pub fn left(&self) -> usize {
        self.room.most.saturating_sub(self.held.len())
    }

    /// What the log is to say.
    pub fn warning(&mut self, now: Micros) -> Option<String> {
        let is_full = self.room(now) == 0;
        let was_full = std::mem::take(&mut self.was_full);
        let is_due = self.warning.is_due(now, is_full || was_full);
        is_due.then(|| {
            format!(
                "no room for evicted connections to linger in: the limit of open files is {}, and maxclients {} \
                 needs {} (LimitNOFILE, ulimit -n); some clients may see a reset in place of a clean end",
                self.limit,
                self.max_clients,
                Room::needed(self.max_clients),
            )
        })
    }

    pub fn can_deafen(&self) -> bool {
        !self.cannot_deafen
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }

    pub fn next(&self) -> Option<Micros> {
        self.looks.first().map(|(at, _)| *at)
    }

    fn look_at(&mut self, id: ClientId, held: Held, at: Micros) {
        self.looks.insert((at, id));
        self.held.insert(id, held);
    }

    /// Has the kernel drop what a client sends from now on, and throws away what came since it was looked at:
    /// unread, it would be answered with a reset.
    pub fn deafen(&mut self, fd: c_int) -> Result<(), Refusal> {
        let done = socket::drop_payload(fd).map_err(|error| refusal(&error));
        match done {
            Ok(()) => {
                socket::discard_input(fd);
            }
            Err(Refusal::Forbidden) => self.cannot_deafen = true,
            Err(_) => {}
        }
        done
    }

    /// Keeps a duplicate of a connection that the server is about to close.
    pub fn hold(&mut self, now: Micros, id: ClientId, fd: c_int, how: Holding) -> Result<(), Refusal> {
        let Holding {
            tls,
            deaf,
            gated,
            unix,
        } = how;
        if self.room.most == 0 {
            return Err(Refusal::NoNumber);
        }
        let copy = socket::duplicate(fd, self.room.lowest).map_err(|error| refusal(&error));
        if copy == Err(Refusal::NoNumber) {
            self.room.most = 0;
            self.was_full = true;
            self.refused_until = Some(now.plus(PAUSE));
        }
        let fd = copy?;
        if deaf {
            if let Err(refusal) = self.deafen(fd) {
                socket::close(fd);
                return Err(refusal);
            }
        }
        let mut held = Held {
            fd,
            tls,
            deaf,
            gated,
            unix,
            freed: false,
            stay: Stay::new(now),
        };
        let at = if tls {
            // The server's close_notify has to go first: shut down once it has let go.
            now
        } else {
            socket::shut_writing(fd);
            held.stay.end_sent(now)
        };
        self.look_at(id, held, at);
        self.was_full |= self.left() == 0;
        Ok(())
    }

    /// The server is letting go of a connection; only when this event's round is over has it.
    pub fn freed(&mut self, id: ClientId) {
        if let Some(held) = self.held.get_mut(&id) {
            held.freed = true;
        }
    }

    /// Looks after those whose turn it is. Never inside the event that frees a connection.
    pub fn step(&mut self, now: Micros) {
        for _ in 0..LOOKS {
            let Some((at, id)) = self.looks.first().copied().filter(|(at, _)| *at <= now) else {
                return;
            };
            self.looks.remove(&(at, id));
            let Some(mut held) = self.held.remove(&id) else {
                continue;
            };
            if held.tls && held.freed {
                socket::shut_writing(held.fd);
                held.tls = false;
                let at = held.stay.end_sent(now);
                self.look_at(id, held, at);
                continue;
            }
            let peer = held.peer();
            match held.stay.next_look(now, &peer) {
                Some(at) => self.look_at(id, held, at),
                None if peer.has_all || peer.is_over => held.let_go(),
                None => held.leave_to_the_kernel(),
            }
        }
    }

    /// The module goes, or can't look after them any more.
    pub fn let_all_go(&mut self) {
        self.looks.clear();
        let held = std::mem::take(&mut self.held);
        held.into_values().for_each(Held::leave_to_the_kernel);
    }
}
