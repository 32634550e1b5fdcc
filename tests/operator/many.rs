//! Ten thousand idle connections, as cheap as they come.

use crate::support::conn::Conn;
use crate::support::server::{wait_for_figure, Server, Setup};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use std::net::TcpStream;

/// So many that what walks all of them can be seen.
pub const MANY: usize = 10_000;

/// A server that takes so many.
pub fn roomy(on: &'static str, words: &str) -> Server {
    let room = Rlimit {
        current: getrlimit(Resource::Nofile).maximum,
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, room).expect("as many descriptors as the machine allows");
    Setup::of(on)
        .module(words)
        .line("maxclients 12000")
        .line("tcp-backlog 2000")
        .start()
}

/// Connections that say nothing; there once the server knows of all of them.
pub fn connect(server: &Server, admin: &mut Conn) -> Vec<TcpStream> {
    let before = crate::support::server::figure(admin, "tracked_connections");
    let open = |_| TcpStream::connect(("127.0.0.1", server.port)).expect("connected");
    let streams: Vec<TcpStream> = (0..MANY).map(open).collect();
    wait_for_figure(admin, "tracked_connections", before + MANY as i64);
    streams
}

/// Nanoseconds that the server's main thread has run.
pub fn main_thread(server: &Server) -> u64 {
    let pid = server.pid();
    let path = format!("/proc/{pid}/task/{pid}/schedstat");
    let text = std::fs::read_to_string(path).expect("its schedstat");
    text.split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .expect("a number")
}
