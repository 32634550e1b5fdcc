//! Cycle: connect, PING, disconnect, over and over, with the module and without in turn in the same
//! server. Main-thread time a cycle.

use crate::crowd::Address;
use crate::report::{Report, Row};
use crate::server::{load_module, unload_module, Server, Setup};
use crate::stats::{number, Rounds};
use crate::Plan;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

pub fn one(address: &Address, number: usize) {
    let mut answer = [0; 7];
    match address {
        Address::Tcp(port) => {
            let mut stream = TcpStream::connect(Address::tcp(*port, number)).expect("connected");
            stream.write_all(b"PING\r\n").expect("sent");
            stream.read_exact(&mut answer).expect("answered");
        }
        Address::Unix(path) => {
            let mut stream = UnixStream::connect(path).expect("connected");
            stream.write_all(b"PING\r\n").expect("sent");
            stream.read_exact(&mut answer).expect("answered");
        }
    }
}

/// µs of CPU a cycle.
fn block(server: &Server, address: &Address, cycles: usize) -> f64 {
    let before = server.main_thread_ns();
    (0..cycles).for_each(|n| one(address, n));
    crate::clock::sleep_ms(3);
    (server.main_thread_ns() - before) as f64 / 1_000.0 / cycles as f64
}

/// Halves of the same side, compared as the two sides are.
pub fn noise_percent(side: &Rounds) -> f64 {
    let half = |odd: usize| side.iter().skip(odd).step_by(2).collect::<Rounds>().median();
    (half(0) / half(1) - 1.0).abs() * 100.0
}

pub fn measure(plan: &Plan, setup: &Setup, report: &mut Report) {
    let (pairs, cycles) = if plan.quick { (4, 1_000) } else { (12, 1_500) };
    let server = setup.clone().max_clients(1_000).start();
    let mut admin = server.admin();
    let address = Address::of(&server, false);
    block(&server, &address, cycles);
    let (mut bare, mut with) = (Rounds::default(), Rounds::default());
    for pair in 0..pairs {
        for half in 0..2 {
            // In turn, and each comes first as often as the other.
            if (pair + half) % 2 == 0 {
                bare.add(block(&server, &address, cycles));
            } else {
                load_module(&mut admin, "maxage 1h");
                with.add(block(&server, &address, cycles));
                unload_module(&mut admin);
            }
        }
    }
    let percent = (with.median() / bare.median() - 1.0) * 100.0;
    let noise = noise_percent(&bare).max(noise_percent(&with));
    report.add(Row {
        what: "connect, PING, disconnect on TCP: CPU a cycle".into(),
        server: setup.name,
        without: format!("{bare} µs"),
        with: format!("{with} µs, {}% more (A/A {}%)", number(percent), number(noise)),
        target: "no more than A/A noise".into(),
        reached: Some(percent <= noise.max(1.0)),
    });
}
