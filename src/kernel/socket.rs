//! Sockets: what they hold, and what becomes of what comes in. A descriptor of -1, or a call that the kernel
//! refuses, answers `None` or `false`.
//!
//! Sockets of the server's are given by number, as CLIENT LIST tells it: such a number is good until the event
//! DISCONNECTED, after which the server closes it and may give it to another connection.

use libc::{c_int, c_ulong};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

fn pending(fd: c_int, request: c_ulong) -> Option<u64> {
    if fd < 0 {
        return None;
    }
    let mut bytes: c_int = 0;
    // SAFETY: both requests write one int to a valid place, and a wrong descriptor is an error.
    let answer = unsafe { libc::ioctl(fd, request as _, &raw mut bytes) };
    (answer == 0).then(|| u64::try_from(bytes).unwrap_or(0))
}

/// Bytes that came in and were not read.
pub fn unread(fd: c_int) -> Option<u64> {
    pending(fd, libc::FIONREAD as c_ulong)
}

/// Bytes sent that the peer's kernel has not acknowledged; over a unix socket, that the peer has not
/// read (in the kernel's own measure, which counts a little more; 0 is 0).
pub fn unacked(fd: c_int) -> Option<u64> {
    pending(fd, libc::TIOCOUTQ as c_ulong)
}

/// How `struct tcp_info` of the kernel's include/uapi/linux/tcp.h begins, since 4.6.
#[repr(C)]
struct TcpInfo {
    small: [u8; 8],
    before: [u32; 11],
    last_data_recv: u32,
    /// Since the last acknowledgement, and sizes.
    between: [u32; 3],
    rtt: u32,
    after: [u32; 8],
    rates: [u64; 2],
    bytes_acked: u64,
    bytes_received: u64,
    segments: [u32; 2],
    unsent: u32,
    min_rtt: u32,
}

fn option<T>(fd: c_int, level: c_int, name: c_int, mut value: T) -> Option<T> {
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: a valid place and its length; all types asked for are plain numbers, for which any bytes do.
    let answer = unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut len) };
    (answer == 0 && len as usize == size_of::<T>()).then_some(value)
}

/// `None` for what is not plain TCP: of multipath TCP the kernel tells of one path.
fn tcp_info(fd: c_int) -> Option<TcpInfo> {
    let protocol: c_int = option(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL, 0)?;
    if protocol != libc::IPPROTO_TCP {
        return None;
    }
    let empty = TcpInfo {
        small: [0; 8],
        before: [0; 11],
        last_data_recv: 0,
        between: [0; 3],
        rtt: 0,
        after: [0; 8],
        rates: [0; 2],
        bytes_acked: 0,
        bytes_received: 0,
        segments: [0; 2],
        unsent: 0,
        min_rtt: 0,
    };
    option(fd, libc::IPPROTO_TCP, libc::TCP_INFO, empty)
}

/// What has come in over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// All so far, read or not.
    pub bytes: u64,
    /// How long ago the last of them came, by the kernel's ticks.
    pub ago_ms: u64,
    /// The least of late round trips: the smoothed one counts how long acknowledgements wait for company.
    pub round_trip_us: u64,
}

pub fn received(fd: c_int) -> Option<Received> {
    let info = tcp_info(fd)?;
    let round_trip_us = if info.min_rtt == u32::MAX { 0 } else { info.min_rtt };
    Some(Received {
        bytes: info.bytes_received,
        ago_ms: u64::from(info.last_data_recv),
        round_trip_us: u64::from(round_trip_us),
    })
}

/// How long a byte and its acknowledgement take, in microseconds.
pub fn round_trip_us(fd: c_int) -> Option<u64> {
    Some(u64::from(tcp_info(fd)?.rtt))
}

/// A duplicate of `fd` at the first free number from `lowest` on.
pub fn duplicate(fd: c_int, lowest: c_int) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers only; a wrong descriptor is an error.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, lowest) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Sends an end of stream; what comes in from now on is answered with a reset, even while a forked child holds
/// the socket open.
pub fn shut(fd: c_int) {
    // SAFETY: a wrong descriptor is an error.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}

/// Sends an end of stream and goes on reading.
pub fn shut_writing(fd: c_int) {
    // SAFETY: a wrong descriptor is an error.
    unsafe { libc::shutdown(fd, libc::SHUT_WR) };
}

/// Has the kernel cut the payload off whatever comes in from now on, so that acknowledgements still count
/// and bytes find no closed half that would answer them with a reset.
pub fn drop_payload(fd: c_int) -> io::Result<()> {
    attach(fd, &mut [KEEP_ONE])
}

/// Likewise, but for what comes with the end of stream: without it the kernel would take the end for the whole, and
/// the rest would never be sent again.
pub fn drop_payload_before_the_end(fd: c_int) -> io::Result<()> {
    /// Where TCP's header has its flags, and the one that ends the stream.
    const FLAGS: u32 = 13;
    const FIN: u32 = 1;
    let load_flags = instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, FLAGS);
    let mut unless_fin = instruction(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, FIN);
    unless_fin.jf = 1;
    let keep_all = instruction(libc::BPF_RET | libc::BPF_K, u32::MAX);
    attach(fd, &mut [load_flags, unless_fin, keep_all, KEEP_ONE])
}

/// TCP never lets a filter cut into its own header (`tcp_filter` in net/ipv4/tcp_ipv4.c).
const KEEP_ONE: libc::sock_filter = instruction(libc::BPF_RET | libc::BPF_K, 1);

/// Of a classic BPF filter.
const fn instruction(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}

fn attach<const N: usize>(fd: c_int, instructions: &mut [libc::sock_filter; N]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: N as u16,
        filter: instructions.as_mut_ptr(),
    };
    // SAFETY: a program of so many instructions, which the kernel checks and copies.
    let answer = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Reads and throws away what came in, and answers how many bytes; `None` once the peer has closed or the socket
/// failed.
pub fn discard_input(fd: c_int) -> Option<usize> {
    // Mostly there is nothing: clearing more than this would cost more than reading it.
    let mut scrap = [0_u8; 2 * 1024];
    let mut all = 0;
    // Bounded: a peer that sends without end is not read without end.
    for _ in 0..64 {
        // SAFETY: a valid buffer and its length.
        let got = unsafe { libc::recv(fd, scrap.as_mut_ptr().cast(), scrap.len(), libc::MSG_DONTWAIT) };
        match usize::try_from(got) {
            Ok(0) => return None,
            Ok(bytes) => all += bytes,
            Err(_) => {
                let error = io::Error::last_os_error().kind();
                let no_more = matches!(error, io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
                return no_more.then_some(all);
            }
        }
    }
    Some(all)
}

/// Undoes [`drop_payload`] and [`drop_payload_before_the_end`].
pub fn keep_payload(fd: c_int) {
    let unused: c_int = 0;
    // SAFETY: an option without a value; a wrong descriptor is an error.
    unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_DETACH_FILTER,
            (&raw const unused).cast(),
            size_of::<c_int>() as libc::socklen_t,
        )
    };
}

/// Whether a TCP connection is over on both sides.
pub fn is_closed(fd: c_int) -> bool {
    /// `TCP_CLOSE` of the kernel's include/net/tcp_states.h.
    const CLOSED: u8 = 7;
    // The first byte of `struct tcp_info` is the state, and as much as is asked for is given.
    option(fd, libc::IPPROTO_TCP, libc::TCP_INFO, 0_u8).is_none_or(|state| state == CLOSED)
}
