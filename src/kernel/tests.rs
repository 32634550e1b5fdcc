//! What the kernel does with sockets that are treated as the module treats them, whatever the server.

use super::socket;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size, set_tcp_cork};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// A client and its server.
pub fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
    set_socket_recv_buffer_size(&client, 4_096).expect("a small buffer");
    client.set_nodelay(true).expect("no delay");
    let (server, _) = listener.accept().expect("accepted");
    for end in [&client, &server] {
        end.set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
    }
    (client, server)
}

#[test]
fn what_comes_with_the_end_passes_a_gate_and_what_came_before_is_sent_again() {
    for before in ["", "before "] {
        let (mut client, mut server) = pair();
        socket::drop_payload_before_the_end(server.as_raw_fd()).expect("a gate");
        client.write_all(before.as_bytes()).expect("sent");
        // One segment: the last words and the end.
        set_tcp_cork(&client, true).expect("held back");
        client.write_all(b"last").expect("sent");
        client.shutdown(Shutdown::Write).expect("ended");
        // It may not have come to the gate yet, which would prove nothing.
        std::thread::sleep(Duration::from_millis(50));
        socket::keep_payload(server.as_raw_fd());
        let mut text = String::new();
        server.read_to_string(&mut text).expect("read");
        assert_eq!(text, format!("{before}last"));
    }
}

#[test]
fn what_meets_a_gate_is_not_there_until_it_opens() {
    let (mut client, mut server) = pair();
    socket::drop_payload_before_the_end(server.as_raw_fd()).expect("a gate");
    client.write_all(b"word").expect("sent");
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(socket::unread(server.as_raw_fd()), Some(0));
    assert_eq!(socket::unacked(client.as_raw_fd()), Some(4));
    socket::keep_payload(server.as_raw_fd());
    let mut word = [0; 4];
    server.read_exact(&mut word).expect("read");
    assert_eq!(&word, b"word");
}

#[test]
fn a_closed_socket_that_drops_input_goes_on_delivering_whatever_its_client_sends() {
    for (drops_input, clean) in [(false, false), (true, true)] {
        let (mut client, mut server) = pair();
        server.set_nonblocking(true).expect("not to wait");
        // More than the client's kernel takes, and not so much that it comes drop by drop for a minute.
        set_socket_send_buffer_size(&server, 16_384).expect("a small buffer");
        let mut sent = 0;
        while let Ok(bytes) = server.write(&[b'x'; 100_000]) {
            sent += bytes;
        }
        if drops_input {
            socket::drop_payload(server.as_raw_fd()).expect("dropped");
        }
        drop(server);
        client.write_all(b"more").expect("sent");
        std::thread::sleep(Duration::from_millis(100)); // a reset would arrive meanwhile
        let mut all = Vec::new();
        let end = client.read_to_end(&mut all);
        assert_eq!(
            end.is_ok() && all.len() == sent,
            clean,
            "drops input: {drops_input}: {} of {sent}, {end:?}",
            all.len()
        );
    }
}

#[test]
fn what_was_not_read_is_thrown_away_and_an_end_is_seen() {
    let (mut client, server) = pair();
    let fd = server.as_raw_fd();
    assert_eq!(socket::discard_input(fd), Some(0));
    client.write_all(&[b'x'; 5_000]).expect("sent");
    let mut thrown = 0;
    while thrown < 5_000 {
        thrown += socket::discard_input(fd).expect("open");
    }
    drop(client);
    while socket::discard_input(fd).is_some() {}
}
