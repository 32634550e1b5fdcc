//! The server's loop runs inside a command: in a long script, a function, a transaction or a module's command
//! that yields. Whoever's command that is must not be closed in it, since it would go on as the default user.

use crate::on_servers;
use crate::support::conn::{Conn, Gone};
use crate::support::resp::Value;
use crate::support::server::{figure, Server, Setup};
use std::time::{Duration, Instant};

/// Past this age a connection is closed, whatever it does: its limit and its grace.
const OVER: Duration = Duration::from_millis(300);

/// Tries to read a secret, over and over. Answers -1 where it never could.
const TRY: &str = "\
    for n = 1, tonumber(ARGV[1]) do \
        for i = 1, 200000 do end \
        local r = redis.pcall('GET', 'secret') \
        if type(r) == 'string' then return n end \
    end \
    return -1";

/// One way to have a command on the stack while the loop runs. The second number says how long it is to take, in
/// rounds or milliseconds.
type Way = (&'static str, fn(&mut Conn, u64) -> Result<Value, Gone>);

const WAYS: [Way; 4] = [
    ("EVAL", |conn, rounds| {
        conn.ask(&["EVAL", TRY, "0", &rounds.to_string()])
    }),
    ("FCALL", |conn, rounds| {
        conn.ask(&["FCALL", "try", "0", &rounds.to_string()])
    }),
    ("EXEC", |conn, rounds| {
        conn.ask(&["MULTI"])?;
        conn.ask(&["EVAL", TRY, "0", &rounds.to_string()])?;
        match conn.ask(&["EXEC"])? {
            Value::List(replies) => Ok(replies.into_iter().next().expect("a reply")),
            other => Ok(other),
        }
    }),
    ("a module's command that yields", |conn, ms| {
        conn.ask(&["OTHER.YIELD", &ms.to_string(), "secret"])
    }),
];

/// On a connection of a user who may run commands, and read nothing. `None` where the machine was so slow that it
/// was evicted before its command began.
fn as_mallory(
    server: &Server,
    way: fn(&mut Conn, u64) -> Result<Value, Gone>,
    amount: u64,
) -> Option<(Value, Duration)> {
    let mut conn = server.client();
    conn.ask(&["AUTH", "mallory", "pw"]).ok()?;
    let began = Instant::now();
    let reply = way(&mut conn, amount).ok()?;
    let took = began.elapsed();
    // Its own replies come before its end.
    conn.ends();
    Some((reply, took))
}

on_servers!(
    ALL,
    beside,
    nobody_gains_a_right_by_a_command_that_outlasts_its_connection
);
fn nobody_gains_a_right_by_a_command_that_outlasts_its_connection(on: &'static str) {
    let server = Setup::of(on)
        .other_module()
        .module("maxage 150 grace 150")
        .line("busy-reply-threshold 50")
        .start();
    let mut admin = server.admin();
    admin.ok("SET secret TOPSECRET");
    admin.ok("ACL SETUSER mallory on >pw nocommands +auth +eval +fcall +multi +exec +other.yield");
    let library = TRY.replace("ARGV", "args");
    let library =
        format!("#!lua name=try\nredis.register_function('try', function(keys, args) {library} end)");
    let loaded = admin.call(&["FUNCTION", "LOAD", &library]);
    assert!(!loaded.is_error(), "{loaded:?}");
    for (title, way) in WAYS {
        let (mut amount, mut too_slow) = (20, 0);
        loop {
            let Some((reply, took)) = as_mallory(&server, way, amount) else {
                too_slow += 1;
                assert!(too_slow < 20, "{title}: evicted each time before it began");
                continue;
            };
            let denied = matches!(reply, Value::Int(-1 | 0));
            assert!(denied, "{title}, for {took:?}: {reply:?}");
            if took > OVER * 2 {
                break;
            }
            // As much as the machine does in that time today.
            amount = amount * 3 * OVER.as_millis() as u64 / took.as_millis().max(1) as u64 + 1;
        }
    }
    assert_eq!(figure(&mut admin, "healthy"), 1);
}

on_servers!(FIVE, beside, who_is_idle_goes_while_a_script_runs);
fn who_is_idle_goes_while_a_script_runs(on: &'static str) {
    let server = Setup::of(on)
        .module("maxage 300 grace 300")
        .line("busy-reply-threshold 50")
        .start();
    let (mut admin, mut other) = (server.admin(), server.admin());
    let mut idle = server.client();
    admin.send(&["EVAL", "while true do end", "0"]).expect("sent");
    // Until it is killed nothing but the script runs.
    idle.ends();
    other.ok("SCRIPT KILL");
    assert!(admin.reply().expect("a reply").is_error());
    assert_eq!(figure(&mut admin, "evicted_forced"), 0);
}
