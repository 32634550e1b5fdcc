//! A real server in a folder of its own: started, asked, restarted, and looked at for
//! crashes when the test is over.

use super::conn::{Address, Conn, PATIENCE};
use super::resp::Value;
use super::{say, wait_until};
use rustix::process::{
    getrlimit, kill_process, kill_process_group, prlimit, set_parent_process_death_signal, Pid, Resource,
    Rlimit, Signal,
};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn launcher(name: &str) -> PathBuf {
    root().join(".servers").join(name).join("server")
}

pub fn fetched(name: &str) -> bool {
    launcher(name).exists()
}

/// The module as users get it, or as built with the switches of the tests.
fn module(faults: bool) -> PathBuf {
    let (variable, place) = if faults {
        (
            "CONNAGE_MODULE_TEST_FAULTS",
            "target/test-faults/release/libconnage.so",
        )
    } else {
        ("CONNAGE_MODULE", "target/release/libconnage.so")
    };
    match std::env::var_os(variable) {
        Some(path) => path.into(),
        None => root().join(place),
    }
}

/// Whether the module with the switches is there: without it their tests say so and pass,
/// but in CI.
pub fn faults_built() -> bool {
    let built = module(true).exists();
    assert!(
        built || std::env::var_os("CI").is_none(),
        "no {}",
        module(true).display()
    );
    if !built {
        say("skipped: the module with test-faults is not built".into());
    }
    built
}

/// What a server is to be started with.
#[derive(Clone)]
pub struct Setup {
    pub name: &'static str,
    lines: Vec<String>,
    env: Vec<(String, String)>,
    module: Option<String>,
    faults: bool,
    tls: bool,
    descriptors: Option<String>,
    under: String,
}

impl Setup {
    pub fn of(name: &'static str) -> Setup {
        Setup {
            name,
            lines: Vec::new(),
            env: Vec::new(),
            module: None,
            faults: false,
            tls: false,
            descriptors: None,
            // For `make valgrind`, which reads valgrind's reports and nothing else.
            under: std::env::var("CONNAGE_UNDER").map_or(String::new(), |program| format!("{program} ")),
        }
    }

    /// Loads the module at the start, with these words.
    pub fn module(mut self, words: &str) -> Setup {
        self.module = Some(words.into());
        self
    }

    /// Loads another module beside ours.
    pub fn other_module(self) -> Setup {
        let line = format!("loadmodule {}", super::other::module().display());
        self.line(&line)
    }

    /// A line of the server's configuration.
    pub fn line(mut self, line: &str) -> Setup {
        self.lines.push(line.into());
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Setup {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Takes the module that knows the switches of the tests, with this one on.
    pub fn fault(mut self, switch: &str) -> Setup {
        self.faults = true;
        self.env("CONNAGE_TEST_FAULT", switch)
    }

    pub fn tls(mut self) -> Setup {
        self.tls = true;
        self
    }

    pub fn io_threads(self, threads: u8) -> Setup {
        match threads {
            0 | 1 => self,
            n if self.name.starts_with("valkey") => self.line(&format!("io-threads {n}")),
            n => self
                .line(&format!("io-threads {n}"))
                .line("io-threads-do-reads yes"),
        }
    }

    pub fn descriptors(mut self, most: u32) -> Setup {
        self.descriptors = Some(format!("ulimit -n {most}; "));
        self
    }

    /// A limit that programs may raise.
    pub fn soft_descriptors(mut self, most: u32) -> Setup {
        self.descriptors = Some(format!("ulimit -Sn {most}; "));
        self
    }

    /// Runs the server by this program, which is given it as its last words.
    pub fn under(mut self, program: &str) -> Setup {
        self.under = format!("{program} ");
        self
    }

    #[track_caller]
    pub fn start(self) -> Server {
        match self.try_start() {
            Ok(server) => server,
            Err(log) => panic!("the server did not start:\n{log}"),
        }
    }

    /// The server's log instead, where it ended at once.
    pub fn try_start(self) -> Result<Server, String> {
        let path = module(self.faults);
        assert!(
            self.module.is_none() || path.exists(),
            "no {}: build the module first (cargo build --release)",
            path.display()
        );
        for _ in 0..5 {
            match Server::prepare(self.clone()).up() {
                Err(log) if log.contains("Address already in use") => {}
                other => return other,
            }
        }
        Err("no port is free".into())
    }
}

pub struct Server {
    pub setup: Setup,
    pub port: u16,
    tls_port: u16,
    dir: tempfile::TempDir,
    tls_config: Option<Arc<rustls::ClientConfig>>,
    child: Option<Child>,
}

/// Away from the ports that the kernel hands out to clients, and 10,000 more as well: there
/// a node of a cluster has its bus.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 12_000;
    const MANY: u16 = 8_000;
    let start = (std::process::id().wrapping_mul(97) % u32::from(MANY)) as u16;
    loop {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % MANY;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Server {
    fn prepare(setup: Setup) -> Server {
        let dir = tempfile::Builder::new()
            .prefix("connage-")
            .tempdir()
            .expect("a folder");
        let (port, tls_port) = (free_port(), free_port());
        let at = dir.path();
        let mut conf = format!(
            "bind 127.0.0.1\nport {port}\nunixsocket {0}/socket\ndir {0}\nlogfile {0}/log\n\
             loglevel verbose\nsave \"\"\nenable-module-command yes\n\
             enable-debug-command yes\ndaemonize no\nmaxclients 4000\n",
            at.display()
        );
        let tls_config = setup.tls.then(|| {
            let (cert, key, config) = certificate();
            std::fs::write(at.join("cert"), cert).expect("a file");
            std::fs::write(at.join("key"), key).expect("a file");
            let at = at.display();
            conf += &format!(
                "tls-port {tls_port}\ntls-cert-file {at}/cert\ntls-key-file {at}/key\n\
                 tls-ca-cert-file {at}/cert\ntls-auth-clients no\n"
            );
            config.clone()
        });
        for line in &setup.lines {
            conf += line;
            conf += "\n";
        }
        if let Some(words) = &setup.module {
            let path = module(setup.faults);
            conf += &format!("loadmodule {} {words}\n", path.display());
        }
        // Settings of the module are known only once it is loaded, wherever they stand.
        std::fs::write(at.join("conf"), conf).expect("a file");
        Server {
            setup,
            port,
            tls_port,
            dir,
            tls_config,
            child: None,
        }
    }

    fn up(mut self) -> Result<Server, String> {
        let limit = self.setup.descriptors.clone().unwrap_or_default();
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!("{limit}exec {}\"$0\" \"$1\"", self.setup.under))
            .arg(launcher(self.setup.name))
            .arg(self.dir.path().join("conf"))
            .envs(self.setup.env.iter().map(|(n, v)| (n, v)))
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(self.dir.path().join("out")).expect("a file"))
            .stderr(std::fs::File::create(self.dir.path().join("err")).expect("a file"))
            .process_group(0);
        // SAFETY: one system call between fork and exec, which touches no memory.
        unsafe {
            // A server doesn't outlive the thread of its test, however that ends.
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        self.child = Some(command.spawn().expect("sh"));
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(mut conn) = Conn::open(&self.unix()) {
                if conn.ask(&["PING"]).is_ok_and(|v| !v.is_error()) {
                    return Ok(self);
                }
            }
            let child = self.child.as_mut().expect("started");
            let ended = child.try_wait().expect("a child").is_some();
            if ended || Instant::now() > deadline {
                let log = self.log() + &self.file("out") + &self.file("err");
                self.kill();
                return Err(log);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Its forked children too.
            let _ = kill_process_group(pid_of(&child), Signal::KILL);
            let _ = child.wait();
        }
    }

    /// Ends it as an operator does.
    #[track_caller]
    pub fn stop(&mut self) {
        self.health();
        let mut child = self.child.take().expect("started");
        kill_process(pid_of(&child), Signal::TERM).expect("signalled");
        wait_until("the server to end", || {
            child.try_wait().expect("a child").is_some()
        });
    }

    /// Ends it, and starts it again with what its configuration file now says.
    #[track_caller]
    pub fn restart(mut self) -> Server {
        self.stop();
        self.start_again()
    }

    /// After [`stop`](Self::stop).
    #[track_caller]
    pub fn start_again(self) -> Server {
        match Server::up(self) {
            Ok(server) => server,
            Err(log) => panic!("the server did not start again:\n{log}"),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("started").id()
    }

    pub fn tcp(&self) -> Address {
        Address::Tcp(self.port)
    }

    pub fn unix(&self) -> Address {
        Address::Unix(self.dir.path().join("socket"))
    }

    pub fn tls(&self) -> Address {
        Address::Tls(self.tls_port, self.tls_config.clone().expect("TLS"))
    }

    /// An ordinary client, over TCP.
    #[track_caller]
    pub fn client(&self) -> Conn {
        Conn::open(&self.tcp()).expect("connected")
    }

    #[track_caller]
    pub fn clients(&self, many: usize) -> Vec<Conn> {
        (0..many).map(|_| self.client()).collect()
    }

    /// A client that age leaves alone, to look on.
    #[track_caller]
    pub fn admin(&self) -> Conn {
        let mut conn = Conn::open(&self.unix()).expect("connected");
        conn.ok("CLIENT NO-EVICT on");
        conn
    }

    #[track_caller]
    pub fn load(&self, admin: &mut Conn, words: &str) {
        let reply = self.try_load(admin, words);
        assert!(!reply.is_error(), "MODULE LOAD … {words}: {reply:?}");
    }

    #[track_caller]
    pub fn try_load(&self, admin: &mut Conn, words: &str) -> Value {
        admin.run(&self.load_line(words))
    }

    /// The command that loads the module.
    pub fn load_line(&self, words: &str) -> String {
        format!("MODULE LOAD {} {words}", module(self.setup.faults).display())
    }

    #[track_caller]
    pub fn try_loadex(&self, admin: &mut Conn, words: &str) -> Value {
        let path = module(self.setup.faults);
        admin.run(&format!("MODULE LOADEX {} {words}", path.display()))
    }

    pub fn file(&self, name: &str) -> String {
        let bytes = std::fs::read(self.dir.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    pub fn log(&self) -> String {
        self.file("log")
    }

    /// So many descriptors are open in the server.
    pub fn open_descriptors(&self) -> usize {
        self.descriptors().len()
    }

    /// Their numbers.
    pub fn descriptors(&self) -> Vec<u64> {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("its descriptors");
        let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        numbers.collect()
    }

    /// Lowers the limit of descriptors that a program sets itself, as prlimit(1) does.
    pub fn set_soft_limit_of_descriptors(&self, most: u64) {
        let pid = Pid::from_child(self.child.as_ref().expect("started"));
        let limit = prlimit(
            Some(pid),
            Resource::Nofile,
            Rlimit {
                current: Some(most),
                maximum: getrlimit(Resource::Nofile).maximum,
            },
        );
        limit.expect("the limit is lowered");
    }

    pub fn resident_kb(&self) -> i64 {
        self.status("VmRSS:")
    }

    /// How many descriptors the kernel's table for it has places for.
    pub fn table_of_descriptors(&self) -> i64 {
        self.status("FDSize:")
    }

    fn status(&self, field: &str) -> i64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("its status");
        let line = status.lines().find_map(|l| l.strip_prefix(field));
        let digits = line.and_then(|l| l.split_whitespace().next());
        digits.expect("a size").parse().expect("a number")
    }

    /// Fails the test where the server crashed, or the module ran into a fault.
    #[track_caller]
    pub fn health(&mut self) {
        if let Some(child) = &mut self.child {
            let ended = child.try_wait().expect("a child");
            assert!(ended.is_none(), "the server is gone: {ended:?}");
        }
        let log = self.log();
        let mut bad = vec!["BUG REPORT", "ASSERTION FAILED", "AddressSanitizer"];
        if !self.setup.faults {
            bad.push("panicked");
        }
        for word in bad {
            assert!(!log.contains(word), "the server's log: {word}");
        }
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

impl Drop for Server {
    fn drop(&mut self) {
        let failing = std::thread::panicking();
        let verdict = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            if !failing && self.child.is_some() {
                self.health();
            }
        }));
        if (failing || verdict.is_err()) && self.child.is_some() {
            let log = self.log() + &self.file("err");
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(80)..];
            eprintln!("--- the log of {}\n{}", self.setup.name, last.join("\n"));
        }
        self.kill();
        if let Err(why) = verdict {
            std::panic::resume_unwind(why);
        }
    }
}

/// Settings of the server or the module, as CONFIG GET says them.
#[track_caller]
pub fn setting(conn: &mut Conn, name: &str) -> String {
    let reply = conn.call(&["CONFIG", "GET", name]);
    match reply.list() {
        [_, value] => value.text(),
        other => panic!("CONFIG GET {name}: {other:?}"),
    }
}

/// A section of INFO: what the lines say that are numbers.
#[track_caller]
pub fn info(conn: &mut Conn, section: &str) -> BTreeMap<String, i64> {
    let text = conn.call(&["INFO", section]).text();
    let fields = text.lines().filter_map(|line| line.trim().split_once(':'));
    fields
        .filter_map(|(name, value)| Some((name.to_string(), value.parse().ok()?)))
        .collect()
}

/// One number of `INFO connage`, without its prefix.
#[track_caller]
pub fn figure(conn: &mut Conn, name: &str) -> i64 {
    let info = info(conn, "connage");
    match info.get(&format!("connage_{name}")) {
        Some(value) => *value,
        None => panic!("INFO connage has no {name}: {info:?}"),
    }
}

/// Several of them from the same answer.
#[track_caller]
pub fn figures<const N: usize>(conn: &mut Conn, names: [&str; N]) -> [i64; N] {
    let info = info(conn, "connage");
    names.map(|name| match info.get(&format!("connage_{name}")) {
        Some(value) => *value,
        None => panic!("INFO connage has no {name}: {info:?}"),
    })
}

/// Waits until one number of `INFO connage` is this.
#[track_caller]
pub fn wait_for_figure(conn: &mut Conn, name: &str, wanted: i64) {
    let mut last = 0;
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        last = figure(conn, name);
        if last == wanted {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{name} is {last}, and did not become {wanted}");
}

/// Waits until so many clients wait for something.
#[track_caller]
pub fn wait_for_blocked(conn: &mut Conn, many: i64) {
    wait_until("them to block", || {
        info(conn, "clients")["blocked_clients"] == many
    });
}

/// The line of a client in CLIENT LIST, if there is such a client.
#[track_caller]
pub fn client_line(conn: &mut Conn, id: i64) -> Option<String> {
    let text = conn.ok(&format!("CLIENT LIST ID {id}")).text();
    (!text.trim().is_empty()).then_some(text)
}

type Certificate = (Vec<u8>, Vec<u8>, Arc<rustls::ClientConfig>);

/// Made once: certificate, key, and a client that trusts them.
fn certificate() -> &'static Certificate {
    static MADE: OnceLock<Certificate> = OnceLock::new();
    MADE.get_or_init(|| {
        use rustls::pki_types::{pem::PemObject, CertificateDer};
        let dir = tempfile::tempdir().expect("a folder");
        let made = Command::new("openssl")
            .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes".split(' '))
            .args("-keyout key -out cert -days 2 -subj /CN=localhost".split(' '))
            .args(["-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .current_dir(dir.path())
            .output()
            .expect("openssl makes the certificate");
        assert!(made.status.success(), "openssl: {made:?}");
        let read = |name| std::fs::read(dir.path().join(name)).expect("what openssl made");
        let (cert, key) = (read("cert"), read("key"));
        let mut roots = rustls::RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(&cert).expect("a certificate");
        roots.add(root).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        (cert, key, Arc::new(config))
    })
}
