//! Server: a real one in a folder of its own, on its own core, gone when dropped.

use crate::clock;
use crate::cores::Cores;
use crate::resp::Asker;
use rustix::process::{set_parent_process_death_signal, Signal};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

/// Loopback addresses that a server listens on: a pair of them has 28,000 ports.
pub const ADDRESSES: u8 = 8;
const PATIENCE_NS: u64 = 60 * clock::SECOND;

/// A wrapper needs the binary; otherwise the script that starts it knows its libraries.
fn program(setup: &Setup) -> PathBuf {
    let folder = folder(setup.name);
    let brand = setup.name.split('-').next().unwrap_or_default();
    if setup.wrapper.is_empty() {
        folder.join("server")
    } else {
        folder.join(format!("bin/{brand}-server"))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn folder(name: &str) -> PathBuf {
    root().join(".servers").join(name)
}

pub fn is_fetched(name: &str) -> bool {
    folder(name).join("server").exists()
}

pub fn version(name: &str) -> String {
    let text = std::fs::read_to_string(folder(name).join("VERSION")).unwrap_or_default();
    text.trim().to_string()
}

pub fn module() -> PathBuf {
    match std::env::var_os("CONNAGE_MODULE") {
        Some(path) => path.into(),
        None => root().join("target/release/libconnage.so"),
    }
}

#[derive(Clone, Debug)]
pub struct Setup {
    pub name: &'static str,
    pub cores: Cores,
    pub max_clients: usize,
    /// Words after the path in `loadmodule`; `None`: without the module.
    pub module: Option<&'static str>,
    /// What the server is run under.
    pub wrapper: Vec<String>,
}

impl Setup {
    pub fn new(name: &'static str, cores: Cores) -> Setup {
        Setup {
            name,
            cores,
            max_clients: 19_960,
            module: None,
            wrapper: Vec::new(),
        }
    }

    pub fn module(mut self, words: &'static str) -> Setup {
        self.module = Some(words);
        self
    }

    pub fn max_clients(mut self, most: usize) -> Setup {
        self.max_clients = most;
        self
    }

    pub fn start(&self) -> Server {
        Server::start(self)
    }
}

#[derive(Debug)]
pub struct Server {
    child: Child,
    pub port: u16,
    pub dir: tempfile::TempDir,
}

/// Away from the ports that the kernel hands out to clients.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 18_000 + (std::process::id() % 10_000) as u16;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 4_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Server {
    fn start(setup: &Setup) -> Server {
        let dir = tempfile::Builder::new()
            .prefix("connage-bench-")
            .tempdir()
            .expect("a folder");
        let port = free_port();
        let addresses: Vec<String> = (1..=ADDRESSES).map(|n| format!("127.0.0.{n}")).collect();
        let mut conf = format!(
            "bind {}\nport {port}\nunixsocket {2}/socket\ndir {2}\nlogfile {2}/log\nsave \"\"\n\
             enable-module-command yes\ndaemonize no\ntcp-backlog 4096\nmaxclients {}\n",
            addresses.join(" "),
            setup.max_clients,
            dir.path().display(),
        );
        if let Some(words) = setup.module {
            conf += &format!("loadmodule {} {words}\n", module().display());
        }
        let conf_path = dir.path().join("conf");
        std::fs::write(&conf_path, conf).expect("written");
        let mut words: Vec<_> = setup.wrapper.iter().map(Into::into).collect();
        words.push(program(setup).into_os_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(&conf_path).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        // PyPI's builds of Valkey have libc's malloc, which makes their walks over clients dearer.
        if setup.name.starts_with("valkey") {
            command.env("LD_PRELOAD", root().join(".servers/lib/libjemalloc.so.2"));
        }
        // SAFETY: one system call between fork and exec, which touches no memory.
        unsafe {
            // No server outlives the benchmark, however that ends.
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let child = setup.cores.on_server_core(|| command.spawn().expect("a server"));
        let server = Server { child, port, dir };
        server.wait();
        server
    }

    fn wait(&self) {
        let deadline = clock::now() + PATIENCE_NS;
        loop {
            if let Ok(mut asker) = Asker::connect(&self.socket()) {
                if asker.try_ask(&["PING"]).is_ok_and(|reply| reply.text() == "PONG") {
                    return;
                }
            }
            let log = || std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(clock::now() < deadline, "the server did not start:\n{}", log());
            clock::sleep_ms(5);
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// A client that age leaves alone.
    pub fn admin(&self) -> Asker {
        let mut admin = Asker::connect(&self.socket()).expect("connected");
        admin.ask("CLIENT NO-EVICT on");
        admin
    }

    /// CPU time of the main thread so far, in ns. Exact while it sleeps.
    pub fn main_thread_ns(&self) -> u64 {
        let path = format!("/proc/{0}/task/{0}/schedstat", self.pid());
        let text = std::fs::read_to_string(path).expect("the main thread's times");
        let first = text.split_whitespace().next().expect("a number");
        first.parse().expect("a number")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn load_module(admin: &mut Asker, words: &str) {
    let path = module();
    let command = format!("MODULE LOAD {} {words}", path.display());
    admin.ask(command.trim_end());
}

pub fn unload_module(admin: &mut Asker) {
    admin.ask("MODULE UNLOAD connage");
}
