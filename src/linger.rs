//! Linger: duplicates of closed connections' sockets that only read, until all that was sent has
//! arrived. Nothing read here is ever executed.
//!
//! As nginx's `lingering_close`: the kernel answers a byte that comes for a closed socket with a
//! reset, and throws away what it had not delivered.

use crate::kernel::{limits, socket};
use connage_engine::client::manner::CloseError;
use connage_engine::client::ClientId;
use connage_engine::reaper::linger::{Peer, Room, WANTED};
use connage_engine::reaper::lingering::{Lingering, Socket};
use connage_engine::text::time::Micros;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::raw::c_int;

/// A socket of our own, beside the server's.
#[derive(Debug)]
struct Duplicate {
    fd: OwnedFd,
    /// What comes in is dropped, and the reading half shut: only the socket's state tells of the peer.
    drops_input: bool,
    /// It was sending when it was closed, and its kernel sends again, late, what a gate has dropped.
    gated: bool,
    unix: bool,
}

impl Duplicate {
    /// Out of the way of the server's clients, where there is a number.
    fn move_up(&mut self, lowest: c_int) {
        if self.fd.as_raw_fd() >= lowest {
            return;
        }
        if let Ok(fd) = socket::duplicate(self.fd.as_raw_fd(), lowest) {
            self.fd = fd;
        }
    }
}

impl Socket for Duplicate {
    fn send_end(&self) {
        socket::shut_writing(self.fd.as_raw_fd());
    }

    fn look(&self) -> Peer {
        let fd = self.fd.as_raw_fd();
        let came = if self.drops_input {
            (!socket::is_closed(fd)).then_some(0)
        } else {
            socket::discard_input(fd)
        };
        // Most have closed by the first look: that is all there is to ask then.
        let has_read = came.is_some() && socket::unacked(fd).unwrap_or(0) == 0;
        // What is sent over a unix socket is in its peer's hands, read or not.
        let has_all = came.is_some() && (has_read || self.unix);
        let round_trip_us = if has_all { socket::round_trip_us(fd) } else { None };
        Peer {
            is_over: came.is_none(),
            has_all,
            has_read,
            sends: came
                .filter(|_| !self.drops_input && !self.gated)
                .map(|bytes| bytes > 0),
            round_trip_us: round_trip_us.unwrap_or(0),
        }
    }

    /// Whatever its client still sends fails, even while a forked child holds the socket open.
    fn let_go(self) {
        let fd = self.fd.as_raw_fd();
        if self.drops_input {
            socket::keep_payload(fd);
        }
        socket::shut(fd);
    }

    fn leave_to_the_kernel(self) {
        let fd = self.fd.as_raw_fd();
        // Where it refuses, a byte of its client's meets a reset.
        let _ = socket::drop_payload(fd);
        let _ = socket::discard_input(fd);
    }
}

/// Why there is no duplicate.
fn no_duplicate(error: &io::Error) -> CloseError {
    match error.raw_os_error() {
        // The limit lies below the lowest number, or all above it are taken.
        Some(libc::EINVAL | libc::EMFILE) => CloseError::NoNumber,
        _ => CloseError::ThisSocket,
    }
}

/// Why the kernel does not drop what comes in.
fn drops_nothing(error: &io::Error) -> CloseError {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => CloseError::Forbidden,
        // Of multipath TCP: EOPNOTSUPP.
        _ => CloseError::ThisSocket,
    }
}

/// What is to be known of one that is to linger.
#[derive(Clone, Copy, Debug)]
pub struct Holding {
    pub tls: bool,
    pub drops_input: bool,
    pub gated: bool,
    pub unix: bool,
}

/// All that linger.
#[derive(Debug, Default)]
pub struct Linger {
    all: Lingering<Duplicate>,
    /// The server's `maxclients` has been changed, to what is not known yet.
    is_stale: bool,
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
        self.all
            .set_max_clients(max_clients, || limits::raise_descriptor_limit(0));
        self.measure();
    }

    /// A server that raised its soft limit itself raised it to just what its clients take: it is raised a
    /// little more, within the hard limit, which is the operator's.
    fn measure(&mut self) {
        let limit = limits::raise_descriptor_limit(self.all.needed());
        let before = self.all.room().lowest;
        self.all.measured(limit);
        let Room { lowest, most } = self.all.room();
        if lowest != before && most > 0 {
            // The kernel makes its table larger for the first of these numbers, and lets a process with
            // threads wait for 10 ms: better now than at an eviction.
            let wanted = WANTED.min(most as u64) as c_int;
            limits::make_room_for(lowest.saturating_add(wanted - 1));
        }
        self.all.sockets_mut().for_each(|socket| socket.move_up(lowest));
    }

    /// So many more may linger now.
    pub fn room(&mut self, now: Micros) -> usize {
        if self.all.is_to_be_measured(now) {
            self.measure();
        }
        self.all.left()
    }

    /// Likewise, as far as is known without measuring.
    pub fn left(&self) -> usize {
        self.all.left()
    }

    /// What the log is to say.
    pub fn warning(&mut self, now: Micros) -> Option<String> {
        self.room(now);
        self.all.warning(now)
    }

    pub fn can_drop_input(&self) -> bool {
        self.all.can_drop_input()
    }

    pub fn count(&self) -> usize {
        self.all.count()
    }

    pub fn next(&self) -> Option<Micros> {
        self.all.next()
    }

    /// Has the kernel drop what a client sends from now on, and throws away what came since it was looked at:
    /// unread, it would be answered with a reset.
    pub fn drop_input(&mut self, now: Micros, fd: c_int) -> Result<(), CloseError> {
        let dropped = socket::drop_payload(fd).map_err(|error| drops_nothing(&error));
        self.all.heed(now, dropped)?;
        socket::discard_input(fd);
        Ok(())
    }

    /// Keeps a duplicate of a connection that the server is about to close.
    pub fn hold(&mut self, now: Micros, id: ClientId, fd: c_int, how: Holding) -> Result<(), CloseError> {
        let lowest = self.all.lowest()?;
        let made = socket::duplicate(fd, lowest).map_err(|error| no_duplicate(&error));
        let fd = self.all.heed(now, made)?;
        if how.drops_input {
            self.drop_input(now, fd.as_raw_fd())?;
        }
        let duplicate = Duplicate {
            fd,
            drops_input: how.drops_input,
            gated: how.gated,
            unix: how.unix,
        };
        self.all.begin(now, id, duplicate, how.tls);
        Ok(())
    }

    /// The server is letting go of a connection.
    pub fn freed(&mut self, id: ClientId) {
        self.all.freed(id);
    }

    pub fn step(&mut self, now: Micros) {
        self.all.step(now);
    }

    pub fn let_all_go(&mut self) {
        self.all.leave_all_to_the_kernel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::tests::pair;
    use connage_engine::client::manner::CloseError::{Forbidden, NoNumber, ThisSocket};
    use std::io::{Read, Write};
    use std::time::Duration;

    const PLAIN: Holding = Holding {
        tls: false,
        drops_input: false,
        gated: false,
        unix: false,
    };

    /// Enough for the numbers of a test's sockets.
    fn linger() -> Linger {
        let mut linger = Linger::default();
        linger.set_max_clients(Some(64));
        assert!(linger.left() > 0, "the limit of open files is too low to try it");
        linger
    }

    #[test]
    fn one_that_lingers_has_a_number_of_its_own_and_gets_all_and_a_clean_end() {
        for drops_input in [false, true] {
            let (mut client, mut server) = pair();
            server.write_all(b"last words").expect("sent");
            let mut linger = linger();
            let how = Holding { drops_input, ..PLAIN };
            let held = linger.hold(Micros(0), ClientId(1), server.as_raw_fd(), how);
            assert_eq!((held, linger.count()), (Ok(()), 1));
            let lowest = linger.all.room().lowest;
            assert!(linger
                .all
                .sockets_mut()
                .all(|socket| socket.fd.as_raw_fd() >= lowest));
            drop(server);
            // What meets a closed socket would be answered with a reset, and what was sent before be lost.
            client.write_all(b"more").expect("sent");
            std::thread::sleep(Duration::from_millis(20));
            linger.step(Micros(20_000));
            let mut all = String::new();
            client.read_to_string(&mut all).expect("a clean end");
            assert_eq!(all, "last words");
        }
    }

    #[test]
    fn what_is_left_of_a_descriptor_that_is_none_or_is_no_socket_is_nothing() {
        let mut linger = linger();
        assert_eq!(linger.hold(Micros(0), ClientId(1), -1, PLAIN), Err(ThisSocket));
        let how = Holding {
            drops_input: true,
            ..PLAIN
        };
        let file = std::fs::File::open("/dev/null").expect("a file");
        let held = linger.hold(Micros(0), ClientId(1), file.as_raw_fd(), how);
        assert_eq!(held, Err(ThisSocket));
        assert_eq!((linger.count(), linger.next()), (0, None));
        assert!(linger.can_drop_input() && linger.left() > 0, "others may");
    }

    #[test]
    fn an_error_concerns_one_socket_unless_it_is_known_to_concern_all() {
        let cases: [(i32, CloseError, CloseError); 7] = [
            (libc::EMFILE, NoNumber, ThisSocket),
            (libc::EINVAL, NoNumber, ThisSocket),
            (libc::EBADF, ThisSocket, ThisSocket),
            // A sandbox that forbids duplicates must not keep everybody connected.
            (libc::EPERM, ThisSocket, Forbidden),
            (libc::EACCES, ThisSocket, Forbidden),
            (libc::EOPNOTSUPP, ThisSocket, ThisSocket),
            (libc::ENOPROTOOPT, ThisSocket, ThisSocket),
        ];
        for (code, of_duplicate, of_filter) in cases {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(no_duplicate(&error), of_duplicate, "{error}");
            assert_eq!(drops_nothing(&error), of_filter, "{error}");
        }
        assert_eq!(no_duplicate(&io::Error::other("without a code")), ThisSocket);
    }
}
