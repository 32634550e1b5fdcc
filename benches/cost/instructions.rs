//! Instructions: what the clock is too coarse for, counted by callgrind: connecting and leaving, GET
//! and SET, and a second in which nothing expires. Instructions of the process; the kernel's are not in.

use crate::clock;
use crate::crowd::{Address, Crowd};
use crate::cycle;
use crate::profile::{self, Count, Profiled};
use crate::report::{Report, Row};
use crate::server::{load_module, unload_module, Server, Setup};
use crate::stats::{number, Rounds};
use crate::throughput::{Load, CLIENTS};
use crate::Plan;

const CYCLES: usize = 400;
const COMMANDS: usize = 12_800;
const SERVERS: usize = 3;
const SECONDS: u64 = 4;
const MODULE: &str = "maxage 1h";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Bare,
    BareAgain,
    WithModule,
}

pub fn measure(plan: &Plan, setup: &Setup, report: &mut Report) {
    if !profile::is_possible() {
        println!("no valgrind: instructions are not counted");
        return;
    }
    cycles(setup, report);
    commands(setup, 1, true, report);
    commands(setup, 16, true, report);
    commands(setup, 1, false, report);
    idle(plan, setup, report);
}

/// In the same server (another one has other hash seeds): without the module, without it again, and then
/// with it. For each of the times that `work` says it did something.
///
/// It was there and gone before the second: the server's memory is laid out otherwise then, and so much
/// does that alone change (a text that crosses a page takes 11 instructions more to compare).
fn three<T>(setup: &Setup, prepare: impl Fn(&Server) -> T, work: impl Fn(&T) -> usize) -> [Count; 3] {
    let mut profiled = Profiled::start(&setup.clone().max_clients(1_000));
    let mut admin = profiled.server.admin();
    let prepared = prepare(&profiled.server);
    profiled.begin();
    [Side::Bare, Side::BareAgain, Side::WithModule].map(|side| {
        if side != Side::Bare {
            load_module(&mut admin, MODULE);
        }
        if side == Side::BareAgain {
            unload_module(&mut admin);
        }
        work(&prepared);
        let mut times = 1;
        let count = profiled.count(|| times = work(&prepared));
        let each = |sum: f64| sum / times as f64;
        Count {
            all: each(count.all),
            own: each(count.own),
            called: each(count.called),
            walks: each(count.walks),
        }
    })
}

fn percent(part: f64, of: f64) -> String {
    number(part / of * 100.0)
}

fn cycles(setup: &Setup, report: &mut Report) {
    let prepare = |server: &Server| Address::of(server, false);
    let [bare, again, with] = three(setup, prepare, |address| {
        (0..CYCLES).for_each(|n| cycle::one(address, n));
        CYCLES
    });
    let module = with.own + with.called;
    report.add(Row {
        what: "connect, PING, disconnect: instructions a cycle".into(),
        server: setup.name,
        without: number(bare.all),
        with: format!(
            "module {} ({} its own code, {} what it calls): {}%; server's event {}: {}% (A/A {}%)",
            number(module),
            number(with.own),
            number(with.called),
            percent(module, bare.all),
            number(with.all - bare.all - module),
            percent(with.all - bare.all - module, bare.all),
            percent((again.all - bare.all).abs(), bare.all),
        ),
        target: "module within 2%".into(),
        reached: Some(module <= 0.02 * bare.all),
    });
}

/// Together, as 50 clients send; or one at a time, which has a round of the server's loop for each: the
/// worst that can be made of it. Each server draws the seed of its hash tables, and so how long the way
/// to GET and SET among its commands gets when ours are added: several servers.
fn commands(setup: &Setup, pipeline: usize, together: bool, report: &mut Report) {
    let prepare = |server: &Server| {
        let load = Load::new(&Address::of(server, false), pipeline);
        load.in_turn(1);
        load
    };
    let work = |load: &Load| {
        let rounds = COMMANDS / CLIENTS / pipeline;
        if together {
            load.together(rounds)
        } else {
            load.in_turn(rounds)
        }
    };
    let [mut bare, mut noise, mut more, mut walks] = <[Rounds; 4]>::default();
    let mut module = 0.0;
    for _ in 0..SERVERS {
        let [first, again, with] = three(setup, prepare, work);
        bare.add(first.all);
        noise.add((again.all / first.all - 1.0).abs() * 100.0);
        more.add((with.all / first.all - 1.0) * 100.0);
        walks.add((with.walks - first.walks) / first.all * 100.0);
        module += with.own + with.called;
    }
    let how = if together {
        format!("{CLIENTS} clients")
    } else {
        "one client at a time".into()
    };
    report.add(Row {
        what: format!("GET and SET, pipeline {pipeline}, {how}: instructions a command"),
        server: setup.name,
        without: bare.to_string(),
        with: format!(
            "{more}% more (A/A {noise}%): module {}; the server's walks of its listeners {walks}%",
            number(module),
        ),
        target: "within 0.1%".into(),
        reached: Some(more.median() <= 0.1),
    });
}

/// Instructions of the module in a second, with so many connections. Its housekeeping is not in: it
/// comes every ten seconds at most, and less often where it is dear, as it is under valgrind.
fn quiet_second(setup: &Setup, connections: usize) -> f64 {
    let mut profiled = Profiled::start(&setup.clone().module(MODULE));
    let mut crowd = Crowd::new(Address::of(&profiled.server, true));
    crowd.fill(connections);
    profiled.begin();
    clock::sleep_ms(1_500);
    let count = profiled.count(|| clock::sleep_ms(1_000 * SECONDS));
    (count.own + count.called) / SECONDS as f64
}

fn idle(plan: &Plan, setup: &Setup, report: &mut Report) {
    let [few, many] = [1_000, plan.many].map(|connections| quiet_second(setup, connections));
    report.add(Row {
        what: format!(
            "an idle second, {} connections against 1,000: instructions",
            plan.many
        ),
        server: setup.name,
        without: String::new(),
        with: format!("module {} and {}, housekeeping apart", number(many), number(few)),
        target: "ratio under 1.3".into(),
        reached: Some(many <= 1.3 * few),
    });
}
