//! Sentinel: three of them watch a primary whose connections, theirs among them, live for
//! a few seconds. They see nothing amiss, and a failover under load is as ever.

use crate::churn;
use crate::on_servers;
use crate::support::conn::{Address, Conn, PATIENCE};
use crate::support::resp::Value;
use crate::support::server::{figure, free_port, Server, Setup};
use crate::support::{ms, say, wait_until};
use rustix::process::{set_parent_process_death_signal, Signal};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Sentinels come back no sooner than a second after they lost a connection.
const LIMIT: &str = "maxage 3s jitter 50 grace 2s";

/// One of them, until the test is over.
struct Sentinel {
    port: u16,
    dir: tempfile::TempDir,
    child: Child,
}

impl Sentinel {
    fn watch(primary: &Server) -> Sentinel {
        let dir = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let conf = format!(
            "bind 127.0.0.1\nport {port}\ndir {0}\nlogfile {0}/log\n\
             sentinel monitor m 127.0.0.1 {1} 2\nsentinel down-after-milliseconds m 5000\n\
             sentinel failover-timeout m 10000\n",
            dir.path().display(),
            primary.port
        );
        std::fs::write(dir.path().join("conf"), conf).expect("a file");
        let launcher = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(".servers")
            .join(primary.setup.name)
            .join("server");
        let mut command = Command::new(launcher);
        command.arg(dir.path().join("conf")).arg("--sentinel");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // SAFETY: one system call between fork and exec, which touches no memory.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let child = command.spawn().expect("a sentinel");
        Sentinel { port, dir, child }
    }

    fn conn(&self) -> Conn {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Conn::open(&Address::Tcp(self.port)) {
                Ok(conn) => return conn,
                Err(why) => assert!(Instant::now() < deadline, "the sentinel: {why}"),
            }
            std::thread::sleep(ms(20));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- a sentinel\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As clients ask for it.
fn primary_now(sentinel: u16) -> Option<u16> {
    let mut conn = Conn::open(&Address::Tcp(sentinel)).ok()?;
    let reply = conn.ask(&["SENTINEL", "get-master-addr-by-name", "m"]).ok()?;
    reply.list().get(1)?.text().parse().ok()
}

/// A server that changes it takes leave of its clients.
fn has_role(server: &Server, role: &str) -> bool {
    let asked = Conn::open(&server.unix())
        .ok()
        .and_then(|mut conn| conn.ask(&["ROLE"]).ok());
    matches!(asked, Some(Value::List(told)) if told.first() == Some(&Value::Text(role.into())))
}

on_servers!(FIVE, beside, sentinels_see_nothing_amiss_and_fail_over_under_load);
fn sentinels_see_nothing_amiss_and_fail_over_under_load(on: &'static str) {
    let setup = || Setup::of(on).module(LIMIT).line("repl-diskless-sync-delay 0");
    let primary = setup().start();
    let replica = setup()
        .line(&format!("replicaof 127.0.0.1 {}", primary.port))
        .start();
    let sentinels: Vec<Sentinel> = (0..3).map(|_| Sentinel::watch(&primary)).collect();
    let mut ask = sentinels[0].conn();
    wait_until("the sentinels to know each other and the replica", || {
        let told = format!("{:?}", ask.ok("SENTINEL master m"));
        told.contains(r#""num-slaves", "1""#) && told.contains(r#""num-other-sentinels", "2""#)
    });
    let port = sentinels[0].port;
    churn::during(
        8,
        |i| format!("n{i}"),
        |_| primary_now(port),
        || {
            wait_until("some lifetimes to pass", || {
                figure(&mut primary.admin(), "evicted_connections") >= 15
            });
            for sentinel in &sentinels {
                let log = sentinel.log();
                assert!(
                    !log.contains("+sdown") && !log.contains("+odown"),
                    "amiss:\n{log}"
                );
            }
            // One as an operator orders it.
            wait_until("the failover to be taken up", || {
                !ask.run("SENTINEL failover m").is_error()
            });
            wait_until("the roles to change", || {
                has_role(&replica, "master") && has_role(&primary, "slave")
            });
            wait_until("the sentinels to agree", || {
                primary_now(port) == Some(replica.port)
            });
            wait_until("clients to be evicted there", || {
                figure(&mut replica.admin(), "evicted_connections") > 5
            });
        },
    );
    let evicted = figure(&mut replica.admin(), "evicted_connections");

    // And one since the primary does not answer.
    let mut link = replica.admin();
    wait_until("the former primary to be in step", || {
        let text = link.ok("INFO replication").text();
        text.contains("state=online")
    });
    let back = primary.port;
    let seen2 = churn::during(
        8,
        |i| format!("m{i}"),
        |_| primary_now(port),
        || {
            let n = crate::support::server::info(&mut link, "replication")["connected_slaves"];
            assert_eq!(n, 1);
            link.send(&["DEBUG", "SLEEP", "12"]).expect("sent");
            wait_until("the sentinels to agree", || primary_now(port) == Some(back));
            wait_until("it to be the primary", || has_role(&primary, "master"));
            // Those that wait for the one that sleeps have waited enough.
            assert!(link.reply().is_ok());
            let mut looker = primary.admin();
            let mut counted = || -> i64 {
                let values = (0..8).map(|i| looker.run(&format!("GET m{i}")));
                values.filter(|v| *v != Value::Nil).map(|v| v.int()).sum()
            };
            let before = counted();
            wait_until("clients to be served there", || counted() > before + 50);
        },
    );
    assert!(seen2.answered > 50, "{seen2:?}");
    assert_eq!(figure(&mut primary.admin(), "healthy"), 1);
    say(format!(
        "{on}: two failovers; {evicted} evicted by the first one's new primary"
    ));
}
