//! Crowd: thousands of connections held open, and what becomes of each.

use crate::clock::{self, MS, SECOND};
use crate::server::{Server, ADDRESSES};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// So many connect before the server is asked to keep up: its backlog is short.
const AT_A_TIME: usize = 128;
const STUCK_NS: u64 = 60 * SECOND;

/// Where to connect to.
#[derive(Clone, Debug)]
pub enum Address {
    Tcp(u16),
    Unix(PathBuf),
}

impl Address {
    pub fn of(server: &Server, unix: bool) -> Address {
        if unix {
            Address::Unix(server.socket())
        } else {
            Address::Tcp(server.port)
        }
    }

    pub fn tcp(port: u16, number: usize) -> SocketAddrV4 {
        let last = 1 + (number % usize::from(ADDRESSES)) as u8;
        SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), port)
    }

    /// A non-blocking socket, connected.
    pub fn connect(&self) -> OwnedFd {
        self.connect_nth(0)
    }

    pub fn connect_nth(&self, number: usize) -> OwnedFd {
        match self {
            Address::Tcp(port) => {
                let stream = TcpStream::connect(Address::tcp(*port, number)).expect("connected");
                stream.set_nodelay(true).expect("nodelay");
                stream.set_nonblocking(true).expect("non-blocking");
                stream.into()
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).expect("connected");
                stream.set_nonblocking(true).expect("non-blocking");
                stream.into()
            }
        }
    }

    /// As a client does that must not wait; an error is what it would see.
    fn begin_connect(&self, number: usize) -> Result<OwnedFd, Errno> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let family = match self {
            Address::Tcp(_) => AddressFamily::INET,
            Address::Unix(_) => AddressFamily::UNIX,
        };
        let fd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        let begun = match self {
            Address::Tcp(port) => rustix::net::connect(&fd, &Address::tcp(*port, number)),
            Address::Unix(path) => rustix::net::connect(&fd, &SocketAddrUnix::new(path)?),
        };
        match begun {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(fd),
            Err(error) => Err(error),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Held,
    Connecting,
    Greeting,
    Gone,
}

#[derive(Debug)]
struct Member {
    fd: Option<OwnedFd>,
    stage: Stage,
    born: u64,
}

/// A connection that the server closed: when it was made, and when its end was seen.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    pub born: u64,
    pub at: u64,
}

#[derive(Debug)]
pub struct Crowd {
    epoll: OwnedFd,
    address: Address,
    members: Vec<Member>,
    /// Not connected yet, since the server's backlog was full.
    waiting: Vec<usize>,
    pub ended: Vec<Ended>,
    pub reconnected: usize,
    /// New connections that were refused or closed before they were answered.
    pub refused: usize,
    /// Watches without sleeping: to wake it costs the server a few µs at each end, which it would not if its
    /// clients were on another machine.
    pub never_sleeps: bool,
}

impl Crowd {
    pub fn new(address: Address) -> Crowd {
        Crowd {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll"),
            address,
            members: Vec::new(),
            waiting: Vec::new(),
            ended: Vec::new(),
            reconnected: 0,
            refused: 0,
            never_sleeps: false,
        }
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    fn add(&mut self) {
        let number = self.members.len();
        // For the server it is born later, if anything.
        let born = clock::now();
        let fd = self.address.connect_nth(number);
        let flags = EventFlags::IN | EventFlags::RDHUP;
        epoll::add(&self.epoll, &fd, EventData::new_u64(number as u64), flags).expect("watched");
        self.members.push(Member {
            fd: Some(fd),
            stage: Stage::Held,
            born,
        });
    }

    /// As fast as the server takes them.
    pub fn fill(&mut self, up_to: usize) {
        while self.members.len() < up_to {
            for _ in 0..AT_A_TIME.min(up_to - self.members.len()) {
                self.add();
            }
            self.ask_member(self.members.len() - 1);
        }
    }

    /// So many a second; what ends meanwhile is seen as well.
    pub fn fill_paced(&mut self, many: usize, per_second: u64) {
        let start = clock::now();
        for n in 0..many as u64 {
            clock::sleep_until(start + n * SECOND / per_second);
            self.add();
        }
        self.ask_member(self.members.len() - 1);
    }

    /// Sends a PING and waits for its answer.
    fn ask_member(&self, number: usize) {
        let fd = self.members[number].fd.as_ref().expect("connected");
        rustix::io::write(fd, b"PING\r\n").expect("sent");
        let deadline = clock::now() + STUCK_NS;
        let mut buffer = [0; 64];
        loop {
            match rustix::io::read(fd, &mut buffer) {
                Ok(0) => panic!("closed when it was new"),
                Ok(got) => {
                    let text = String::from_utf8_lossy(&buffer[..got]);
                    assert!(text.starts_with("+PONG"), "{text}");
                    return;
                }
                Err(Errno::AGAIN) if clock::now() < deadline => {
                    std::thread::sleep(std::time::Duration::from_micros(50));
                }
                Err(error) => panic!("a new connection: {error}"),
            }
        }
    }

    /// Every member has its PING answered now, so that none of them is idle.
    pub fn ask_all(&self) {
        for chunk in 0..self.members.len().div_ceil(AT_A_TIME) {
            let range = chunk * AT_A_TIME..self.members.len().min((chunk + 1) * AT_A_TIME);
            for member in &self.members[range.clone()] {
                rustix::io::write(member.fd.as_ref().expect("held"), b"PING\r\n").expect("sent");
            }
            clock::sleep_ms(2);
            let mut buffer = [0; 64];
            for member in &self.members[range] {
                while rustix::io::read(member.fd.as_ref().expect("held"), &mut buffer) == Err(Errno::AGAIN) {
                    std::thread::yield_now();
                }
            }
        }
    }

    /// Closes all on this side.
    pub fn leave(&mut self) {
        self.members.clear();
    }

    /// Watches until `many` more have ended, or until `deadline`; whether they have. Those that end
    /// reconnect at once if `again`, and then have to be answered.
    pub fn watch(&mut self, many: usize, deadline: u64, again: bool) -> bool {
        let wanted = self.ended.len() + many;
        let greeted = self.reconnected + self.refused;
        let first = self.ended.len();
        let mut buffer = Vec::with_capacity(256);
        loop {
            let settled = !again || self.reconnected + self.refused - greeted >= self.ended.len() - first;
            if self.ended.len() >= wanted && settled {
                return true;
            }
            if clock::now() >= deadline {
                return false;
            }
            let timeout = Timespec {
                tv_sec: 0,
                tv_nsec: if self.never_sleeps { 0 } else { MS as _ },
            };
            buffer.clear();
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut buffer),
                Some(&timeout),
            ) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => panic!("epoll: {error}"),
            }
            let now = clock::now();
            for event in &buffer {
                let number = event.data.u64() as usize;
                self.turn(number, event.flags, now, again);
            }
            for number in std::mem::take(&mut self.waiting) {
                self.reconnect(number);
            }
        }
    }

    fn turn(&mut self, number: usize, flags: EventFlags, now: u64, again: bool) {
        let member = &mut self.members[number];
        let Some(fd) = &member.fd else {
            return;
        };
        if member.stage == Stage::Connecting && flags.contains(EventFlags::OUT) {
            if rustix::io::write(fd, b"PING\r\n").is_ok() {
                member.stage = Stage::Greeting;
                let flags = EventFlags::IN | EventFlags::RDHUP;
                epoll::modify(&self.epoll, fd, EventData::new_u64(number as u64), flags).expect("watched");
            } else {
                self.refused += 1;
                member.fd = None;
                member.stage = Stage::Gone;
            }
            return;
        }
        let mut answer = [0; 64];
        match (rustix::io::read(fd, &mut answer), member.stage) {
            (Err(Errno::AGAIN), _) => {}
            (Ok(1..), Stage::Greeting) if answer.starts_with(b"+PONG") => {
                self.reconnected += 1;
                member.stage = Stage::Held;
                member.born = now;
            }
            (_, Stage::Greeting | Stage::Connecting) => {
                self.refused += 1;
                member.fd = None;
                member.stage = Stage::Gone;
            }
            (Ok(1..), _) => {}
            (_, _) => {
                member.fd = None;
                member.stage = Stage::Gone;
                self.ended.push(Ended {
                    born: member.born,
                    at: now,
                });
                if again {
                    self.reconnect(number);
                }
            }
        }
    }

    fn reconnect(&mut self, number: usize) {
        match self.address.begin_connect(number) {
            Ok(fd) => {
                let flags = EventFlags::IN | EventFlags::OUT;
                epoll::add(&self.epoll, &fd, EventData::new_u64(number as u64), flags).expect("watched");
                let member = &mut self.members[number];
                member.fd = Some(fd);
                member.stage = Stage::Connecting;
            }
            Err(Errno::AGAIN) => self.waiting.push(number),
            Err(_) => self.refused += 1,
        }
    }
}
