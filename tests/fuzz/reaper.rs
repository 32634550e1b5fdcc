//! The reaper at the limits of its clock: ages, clocks and durations of 0, 1 and the largest
//! there are, connections older than the clock itself, events in any order.

use crate::inputs::Inputs;
use connage_engine::client::info_line;
use connage_engine::client::manner::{CloseError, Environment, Manner};
use connage_engine::client::quiet::{Received, Seen};
use connage_engine::client::reach::Reach;
use connage_engine::client::{Client, ClientId};
use connage_engine::policy::settings::{Name, Settings};
use connage_engine::reaper::{Closing, Order, Outcome, Reaper};
use connage_engine::text::time::{Micros, Millis};

/// 292,000 years in microseconds: no clock shows more.
const LAST: u64 = i64::MAX as u64;
const FLAGS: [&[u8]; 6] = [b"N", b"b", b"x", b"M", b"S", b"e"];

fn settings(inputs: &mut Inputs) -> Settings {
    let mut settings = Settings::default();
    for name in Name::ALL {
        let value = match name {
            Name::Rules => b"a: user=default maxage=9223372036854775807; b: name=x maxage=1".to_vec(),
            Name::Maxage | Name::Grace => inputs.duration(),
            _ => inputs.word(),
        };
        if inputs.chance(60) {
            let _ = settings.set(name, &value);
        }
    }
    settings
}

fn client(inputs: &mut Inputs, id: ClientId) -> Client<'static> {
    let mut client = Client::unknown(id);
    client.fd = 3;
    client.user = b"default";
    client.age_s = inputs.number();
    client.idle_s = inputs.number();
    client.flags = FLAGS[inputs.below(FLAGS.len())];
    client.qbuf = [0, 0, inputs.number()][inputs.below(3)];
    client.obl = [0, 0, inputs.number()][inputs.below(3)];
    client.multi = [None, None, Some(inputs.number())][inputs.below(3)];
    client
}

pub fn life(inputs: &mut Inputs) {
    let mut now = Micros(inputs.number().min(LAST));
    let mut reaper = Reaper::new(now, inputs.next(), settings(inputs));
    for _ in 0..inputs.below(60) {
        let id = ClientId(1 + inputs.below(6) as u64);
        match inputs.below(12) {
            0 | 1 => {
                reaper.connected(now, id, inputs.chance(10));
            }
            2 => {
                let client = client(inputs, id);
                reaper.found(now, &client, false, Micros(inputs.number()));
            }
            3 => reaper.disconnected(id),
            4 => reaper.reconfigure(now, settings(inputs)),
            5 => {
                let order = Order {
                    grace: Millis(inputs.number()),
                    over: inputs.chance(30).then(|| Millis(inputs.number())),
                    reach: Reach {
                        replicas: inputs.chance(50),
                        protected: inputs.chance(50),
                    },
                };
                reaper.kill(now, &[id], &order);
            }
            6 => reaper.set_own_limit(now, id, Millis(inputs.number())),
            7 => {
                reaper.cancel();
            }
            8 => {
                reaper.report(now);
                let client = client(inputs, id);
                reaper.row(now, &client);
                reaper.is_expired(now, &client);
            }
            9 => now = Micros(now.0.saturating_add(inputs.number()).min(LAST)),
            _ => round(inputs, &mut reaper, now),
        }
        if let Some(at) = reaper.next_wake(now) {
            if inputs.chance(70) && at > now && at.0 <= LAST {
                now = at;
                round(inputs, &mut reaper, now);
            }
        }
    }
}

/// What the shell does when it wakes.
fn round(inputs: &mut Inputs, reaper: &mut Reaper, now: Micros) {
    let mut round = reaper.tick(now);
    let env = Environment {
        jemalloc: inputs.chance(50),
        wall_ms: inputs.number(),
        paused: inputs.chance(5),
        nested: inputs.chance(10),
        ends_despite_child: inputs.chance(50),
        shuts_both_halves: inputs.chance(20),
        linger_room: inputs.below(3),
        can_drop_input: inputs.chance(50),
    };
    let busy: Vec<ClientId> = reaper.perhaps_busy(now, &round).map(|(id, _)| id).collect();
    reaper.put_off_the_busy(now, &mut round, if inputs.chance(50) { &busy } else { &[] });
    for id in &round.identify {
        reaper.identified(now, *id, b"default", b"x");
    }
    if inputs.chance(5) {
        let outcome = Outcome {
            was_refused: true,
            asked_us: inputs.number().min(1 << 40),
            other_us: inputs.number().min(1 << 40),
        };
        reaper.end_round(now, round, outcome);
        return;
    }
    for line in &round.cached {
        let known = info_line::parse(&line.text).expect("as it was given");
        let seen = seen(inputs, known);
        let closing = reaper.judge_cached(now, line, &seen, &env);
        close(inputs, reaper, now, &known, closing);
    }
    for id in round.look.iter().chain(&round.prefetch) {
        let text = format!("id={id}");
        let client = Client {
            line: text.as_bytes(),
            ..client(inputs, *id)
        };
        let closing = reaper.judge(now, &seen(inputs, client), &env);
        close(inputs, reaper, now, &client, closing);
    }
    // Eleven days, in microseconds, for one round of work.
    let outcome = Outcome {
        was_refused: false,
        asked_us: inputs.number().min(1 << 40),
        other_us: inputs.number().min(1 << 40),
    };
    reaper.end_round(now, round, outcome);
}

fn seen<'a>(inputs: &mut Inputs, client: Client<'a>) -> Seen<'a> {
    Seen {
        client,
        unread: [None, Some(0), Some(0), Some(inputs.number())][inputs.below(4)],
        unacked: [None, Some(0), Some(0), Some(inputs.number())][inputs.below(4)],
        received: inputs.chance(70).then(|| Received {
            bytes: inputs.below(2) as u64,
            last: Micros([0, inputs.number()][inputs.below(2)]),
            round_trip_us: 0,
        }),
        awaits_link: false,
    }
}

fn close(inputs: &mut Inputs, reaper: &mut Reaper, now: Micros, client: &Client, closing: Option<Closing>) {
    let Some(closing) = closing else {
        return;
    };
    assert!(!client.has_flag(b'M'), "the link to the master");
    if closing.manner == Manner::OnlyOffKeys {
        reaper.taken_off_keys(now, &closing);
        return;
    }
    match inputs.below(10) {
        0 => {
            let refusals = [
                CloseError::NoNumber,
                CloseError::Forbidden,
                CloseError::ThisSocket,
            ];
            reaper.not_closed(now, &closing, refusals[inputs.below(3)]);
        }
        1 => reaper.disconnected(client.id),
        _ => {
            reaper.closed(now, client, &closing, inputs.number());
            reaper.disconnected(client.id);
        }
    }
}
