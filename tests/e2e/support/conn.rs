//! One client connection, close to the socket: it tells a clean end of stream from a
//! reset, and knows when it was opened and when it ended.

use super::resp::{decode, encode, Value};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::net::{sockopt, AddressFamily, Protocol, SocketFlags, SocketType};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long anything may take that should take no time.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Where a server listens.
#[derive(Clone)]
pub enum Address {
    Tcp(u16),
    /// Over multipath TCP.
    Mptcp(u16),
    /// From one address of the loopback to another.
    Between(Ipv4Addr, SocketAddrV4),
    Unix(PathBuf),
    Tls(u16, Arc<rustls::ClientConfig>),
}

/// Why there is nothing more to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gone {
    /// A clean end of stream; over TLS with close_notify.
    End,
    /// The kernel's reset, or a broken pipe.
    Reset,
    /// Over TLS: the stream ended without close_notify.
    Torn,
    /// Nothing came, and nothing ended.
    Silent,
}

impl From<io::Error> for Gone {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::NotConnected => Gone::Reset,
            ErrorKind::UnexpectedEof => Gone::Torn,
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Gone::Silent,
            _ => panic!("a connection failed: {error}"),
        }
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>),
}

pub struct Conn {
    stream: Stream,
    unread: Vec<u8>,
    taken: usize,
    /// Before the server could know of it: no limit may be over earlier than this plus it.
    pub before: Instant,
    /// After the server did know of it: a limit is over by this plus it.
    pub after: Instant,
}

impl Conn {
    pub fn open(address: &Address) -> io::Result<Conn> {
        Conn::open_with(address, None)
    }

    /// With a receive buffer of so many bytes (the kernel makes more of very few).
    pub fn open_with(address: &Address, receive: Option<usize>) -> io::Result<Conn> {
        let before = Instant::now();
        let stream = match address {
            Address::Tcp(port) => Stream::Tcp(tcp(None, None, local(*port), receive)?),
            Address::Mptcp(port) => {
                let protocol = Some(rustix::net::ipproto::MPTCP);
                Stream::Tcp(tcp(protocol, None, local(*port), receive)?)
            }
            Address::Between(from, to) => Stream::Tcp(tcp(None, Some(*from), *to, receive)?),
            Address::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
            Address::Tls(port, config) => {
                let name = "localhost".try_into().expect("a name");
                let client = rustls::ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
                let socket = tcp(None, None, local(*port), receive)?;
                let tls = rustls::StreamOwned::new(client, socket);
                Stream::Tls(Box::new(tls))
            }
        };
        let mut conn = Conn {
            stream,
            unread: Vec::new(),
            taken: 0,
            before,
            after: before,
        };
        conn.patience(PATIENCE)?;
        conn.send(&["PING"])?;
        let first = conn.reply().map_err(|gone| match gone {
            Gone::Silent => io::Error::from(ErrorKind::TimedOut),
            _ => io::Error::from(ErrorKind::ConnectionReset),
        })?;
        conn.after = Instant::now();
        match first {
            Value::Error(why) if !why.starts_with("NO") => Err(io::Error::other(why)),
            _ => Ok(conn), // NOAUTH and NOPERM are answers too
        }
    }

    fn patience(&self, time: Duration) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(s) => s.set_read_timeout(Some(time)),
            Stream::Unix(s) => s.set_read_timeout(Some(time)),
            Stream::Tls(s) => s.sock.set_read_timeout(Some(time)),
        }
    }

    pub fn send<W: AsRef<[u8]>>(&mut self, words: &[W]) -> io::Result<()> {
        self.send_bytes(&encode(words))
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(s) => s.write_all(bytes),
            Stream::Unix(s) => s.write_all(bytes),
            Stream::Tls(s) => s.write_all(bytes).and_then(|()| s.flush()),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let got = match &mut self.stream {
                Stream::Tcp(s) => s.read(into),
                Stream::Unix(s) => s.read(into),
                Stream::Tls(s) => s.read(into),
            };
            match got {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn read_more(&mut self) -> Result<(), Gone> {
        if self.taken > 0 {
            self.unread.drain(..self.taken);
            self.taken = 0;
        }
        let start = self.unread.len();
        self.unread.resize(start + 32 * 1024, 0);
        let mut unread = std::mem::take(&mut self.unread);
        let got = self.read(&mut unread[start..]);
        unread.truncate(start + *got.as_ref().unwrap_or(&0));
        self.unread = unread;
        match got? {
            0 => Err(Gone::End),
            _ => Ok(()),
        }
    }

    /// The next reply, or why there is none.
    pub fn reply(&mut self) -> Result<Value, Gone> {
        loop {
            let bytes = &self.unread[self.taken..];
            if !bytes.is_empty() {
                if let Some((value, length)) = decode(bytes) {
                    self.taken += length;
                    return Ok(value);
                }
            }
            self.read_more()?;
        }
    }

    pub fn ask<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Result<Value, Gone> {
        self.send(words)?;
        self.reply()
    }

    /// Words from a list. An error of the server is an answer; a lost connection is not.
    #[track_caller]
    pub fn call<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Value {
        match self.ask(words) {
            Ok(value) => value,
            Err(gone) => {
                let line: Vec<_> = words
                    .iter()
                    .map(|w| String::from_utf8_lossy(w.as_ref()).into_owned())
                    .collect();
                panic!("{}: no reply but {gone:?}", line.join(" "))
            }
        }
    }

    /// Words from a line, cut at blanks.
    #[track_caller]
    pub fn run(&mut self, line: &str) -> Value {
        self.call(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// As `run`, where an error of the server is none that the test wants.
    #[track_caller]
    pub fn ok(&mut self, line: &str) -> Value {
        let value = self.run(line);
        assert!(!value.is_error(), "{line}: {value:?}");
        value
    }

    /// Several lines at once; their replies stay unread.
    #[track_caller]
    pub fn start(&mut self, lines: &[&str]) {
        let mut bytes = Vec::new();
        for line in lines {
            bytes.extend(encode(&line.split_whitespace().collect::<Vec<_>>()));
        }
        self.send_bytes(&bytes).expect("sent");
    }

    #[track_caller]
    pub fn id(&mut self) -> i64 {
        self.run("CLIENT ID").int()
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Tcp(s) => s.as_fd(),
            Stream::Unix(s) => s.as_fd(),
            Stream::Tls(s) => s.sock.as_fd(),
        }
    }

    /// Waits for the connection's end; nothing else may come before it.
    #[track_caller]
    pub fn end(&mut self, within: Duration) -> (Gone, Instant) {
        self.patience(within).expect("a timeout");
        let gone = match self.reply() {
            Err(gone) => gone,
            Ok(value) => panic!("a reply came where the end was due: {value:?}"),
        };
        let at = Instant::now();
        self.patience(PATIENCE).expect("a timeout");
        (gone, at)
    }

    /// The connection ends cleanly, soon.
    #[track_caller]
    pub fn ends(&mut self) -> Instant {
        let (gone, at) = self.end(PATIENCE);
        assert_eq!(gone, Gone::End, "how it ended, after {:?}", at - self.before);
        at
    }

    /// Neither ended nor spoken to until then.
    #[track_caller]
    pub fn stays_until(&mut self, moment: Instant) {
        let within = moment.saturating_duration_since(Instant::now());
        if within.is_zero() {
            return;
        }
        let (gone, at) = self.end(within);
        assert_eq!(
            gone,
            Gone::Silent,
            "it should have stayed, but ended at an age of {:?}",
            at - self.before
        );
    }

    #[track_caller]
    pub fn stays_for(&mut self, time: Duration) {
        self.stays_until(Instant::now() + time);
    }
}

fn local(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

fn tcp(
    protocol: Option<Protocol>,
    from: Option<Ipv4Addr>,
    to: SocketAddrV4,
    receive: Option<usize>,
) -> io::Result<TcpStream> {
    let socket = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        protocol,
    )?;
    if let Some(size) = receive {
        sockopt::set_socket_recv_buffer_size(&socket, size)?;
    }
    if let Some(from) = from {
        rustix::net::bind(&socket, &SocketAddrV4::new(from, 0))?;
    }
    rustix::net::connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Waits until every connection has ended, and tells when and how each did, in their
/// order. What has not ended by the deadline is `Silent`.
pub fn all_ends(conns: &mut [Conn], deadline: Instant) -> Vec<(Gone, Instant)> {
    let mut ends: Vec<Option<(Gone, Instant)>> = conns.iter().map(|_| None).collect();
    loop {
        let open: Vec<usize> = (0..conns.len()).filter(|&i| ends[i].is_none()).collect();
        let left = deadline.saturating_duration_since(Instant::now());
        if open.is_empty() || left.is_zero() {
            break;
        }
        let ready: Vec<usize> = {
            let mut fds: Vec<PollFd> = open
                .iter()
                .map(|&i| PollFd::from_borrowed_fd(conns[i].fd(), PollFlags::IN))
                .collect();
            let left = Timespec::try_from(left).expect("a short time");
            if poll(&mut fds, Some(&left)).is_err() {
                continue; // interrupted
            }
            let ready = fds.iter().zip(&open).filter(|(f, _)| !f.revents().is_empty());
            ready.map(|(_, &i)| i).collect()
        };
        let at = Instant::now();
        for i in ready {
            match conns[i].reply() {
                Err(gone) => ends[i] = Some((gone, at)),
                Ok(value) => panic!("a reply came where the end was due: {value:?}"),
            }
        }
    }
    let silent = (Gone::Silent, Instant::now());
    ends.into_iter().map(|end| end.unwrap_or(silent)).collect()
}
