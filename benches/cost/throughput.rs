//! Throughput: GET and SET with 50 clients, with the module and without in turn in the same server.

use crate::clock::{self, MS};
use crate::crowd::Address;
use crate::cycle::noise_percent;
use crate::report::{Report, Row};
use crate::resp::command;
use crate::server::{load_module, unload_module, Server, Setup};
use crate::stats::{number, Rounds};
use crate::Plan;
use rustix::event::epoll::{self, EventData, EventFlags};
use std::os::fd::OwnedFd;

pub const CLIENTS: usize = 50;
/// `+OK\r\n` and `$3\r\nxxx\r\n`.
const SET_ANSWER: usize = 5;
const GET_ANSWER: usize = 9;

/// A client, what it sends, and how many bytes of answers that has.
#[derive(Debug)]
struct Client {
    fd: OwnedFd,
    batch: Vec<u8>,
    expected: usize,
}

impl Client {
    fn send(&self) {
        rustix::io::write(&self.fd, &self.batch).expect("sent");
    }

    fn receive(&self) {
        let mut buffer = [0; 4_096];
        let mut got = 0;
        while got < self.expected {
            match rustix::io::read(&self.fd, &mut buffer) {
                Ok(bytes) => got += bytes,
                Err(rustix::io::Errno::AGAIN) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// 50 clients that each send a batch and wait for its answers.
#[derive(Debug)]
pub struct Load {
    epoll: OwnedFd,
    clients: Vec<Client>,
    /// In each batch.
    commands: usize,
}

impl Load {
    pub fn new(address: &Address, pipeline: usize) -> Load {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll");
        let client = |n: usize| {
            let fd = address.connect_nth(n);
            epoll::add(&epoll, &fd, EventData::new_u64(n as u64), EventFlags::IN).expect("watched");
            // With one command at a time, half of the clients SET and the other half GET.
            let key = format!("key:{}", n % (CLIENTS / 2));
            let (set, get) = (command(&["SET", &key, "xxx"]), command(&["GET", &key]));
            let (batch, expected) = match pipeline {
                1 if n < CLIENTS / 2 => (set, SET_ANSWER),
                1 => (get, GET_ANSWER),
                _ => (
                    [set, get].concat().repeat(pipeline / 2),
                    (SET_ANSWER + GET_ANSWER) * pipeline / 2,
                ),
            };
            Client { fd, batch, expected }
        };
        Load {
            clients: (0..CLIENTS).map(client).collect(),
            epoll,
            commands: pipeline,
        }
    }

    /// One client at a time, in the same order each time.
    pub fn in_turn(&self, rounds: usize) -> usize {
        for _ in 0..rounds {
            for client in &self.clients {
                client.send();
                client.receive();
            }
        }
        rounds * CLIENTS * self.commands
    }

    /// All clients send, and then all read: as many wait for the server at any time as it leaves waiting.
    pub fn together(&self, rounds: usize) -> usize {
        for _ in 0..rounds {
            self.clients.iter().for_each(Client::send);
            self.clients.iter().for_each(Client::receive);
        }
        rounds * CLIENTS * self.commands
    }

    /// All at once for so long; how many commands were answered.
    fn all_at_once(&self, ns: u64) -> usize {
        let mut got = [0; CLIENTS];
        let mut answered = 0;
        let mut running = CLIENTS;
        let mut buffer = [0; 4_096];
        let mut events = Vec::with_capacity(CLIENTS);
        self.clients.iter().for_each(Client::send);
        let until = clock::now() + ns;
        while running > 0 {
            events.clear();
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None).expect("epoll");
            let over = clock::now() >= until;
            for event in &events {
                let number = event.data.u64() as usize;
                let client = &self.clients[number];
                got[number] += rustix::io::read(&client.fd, &mut buffer).expect("answers");
                if got[number] >= client.expected {
                    got[number] = 0;
                    answered += self.commands;
                    if over {
                        running -= 1;
                    } else {
                        client.send();
                    }
                }
            }
        }
        answered
    }
}

/// Commands a second, and ns of CPU each.
fn block(server: &Server, load: &Load, ns: u64) -> (f64, f64) {
    let cpu = server.main_thread_ns();
    let began = clock::now();
    let answered = load.all_at_once(ns) as f64;
    let took = clock::now() - began;
    clock::sleep_ms(2);
    let cpu = server.main_thread_ns() - cpu;
    (answered * 1e9 / took as f64, cpu as f64 / answered)
}

pub fn measure(plan: &Plan, setup: &Setup, report: &mut Report) {
    let (pairs, length) = if plan.quick { (4, 100 * MS) } else { (16, 200 * MS) };
    let server = setup.clone().max_clients(1_000).start();
    let mut admin = server.admin();
    for pipeline in [1, 16] {
        let load = Load::new(&Address::of(&server, false), pipeline);
        // From here on every GET finds its key.
        load.in_turn(1);
        block(&server, &load, length);
        let mut speed = [Rounds::default(), Rounds::default()];
        let mut cpu = [Rounds::default(), Rounds::default()];
        for pair in 0..pairs {
            for half in 0..2 {
                let side = (pair + half) % 2;
                if side == 1 {
                    load_module(&mut admin, "maxage 1h");
                }
                let (a_second, ns) = block(&server, &load, length);
                speed[side].add(a_second);
                cpu[side].add(ns);
                if side == 1 {
                    unload_module(&mut admin);
                }
            }
        }
        let percent = |sides: &[Rounds; 2]| (sides[1].median() / sides[0].median() - 1.0) * 100.0;
        let noise = |sides: &[Rounds; 2]| noise_percent(&sides[0]).max(noise_percent(&sides[1]));
        let (slower, dearer) = (-percent(&speed), percent(&cpu));
        report.add(Row {
            what: format!("GET and SET, {CLIENTS} clients, pipeline {pipeline}"),
            server: setup.name,
            without: format!("{} a second", speed[0]),
            with: format!(
                "{} a second: {}% slower (A/A {}%); CPU {}% more (A/A {}%)",
                speed[1],
                number(slower),
                number(noise(&speed)),
                number(dearer),
                number(noise(&cpu)),
            ),
            target: "no more than A/A noise".into(),
            reached: Some(slower <= noise(&speed).max(5.0)),
        });
    }
}
