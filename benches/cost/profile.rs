//! Profile: a server run under valgrind's callgrind, and what its dumps say: instructions in all, in
//! the server's cron, and in the module with all that it calls.

use crate::server::{module, Server, Setup};
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// The server's cron runs by the clock, and so is not part of what some work costs.
const CRON: &str = "serverCron";
/// Walks all listeners at whatever happens, one that listens to something else among them: in each
/// round of the loop, and each time a command overwrites a key.
const EVENTS: &str = "moduleFireServerEvent";

/// Instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Count {
    /// Without the server's cron.
    pub all: f64,
    /// In the module's own code.
    pub own: f64,
    /// In what the module calls: libc, the server.
    pub called: f64,
    /// In the server's own walks of its list of listeners.
    pub walks: f64,
}

#[derive(Debug)]
pub struct Profiled {
    pub server: Server,
    dir: TempDir,
    dumps: usize,
}

pub fn is_possible() -> bool {
    let version = Command::new("valgrind").arg("--version").output();
    version.is_ok_and(|output| output.status.success())
}

impl Profiled {
    /// Counts nothing yet, so that connecting thousands goes quickly.
    pub fn start(setup: &Setup) -> Profiled {
        let dir = tempfile::Builder::new()
            .prefix("connage-profile-")
            .tempdir()
            .expect("a folder");
        let mut setup = setup.clone();
        let out = format!("--callgrind-out-file={}/out", dir.path().display());
        setup.wrapper =
            "valgrind --tool=callgrind --instr-atstart=no --compress-strings=no --compress-pos=no"
                .split(' ')
                .map(str::to_string)
                .chain([out])
                .collect();
        Profiled {
            server: setup.start(),
            dir,
            dumps: 0,
        }
    }

    pub fn begin(&self) {
        self.control(&["-i", "on"]);
    }

    /// What `work` costs.
    pub fn count(&mut self, work: impl FnOnce()) -> Count {
        self.control(&["-z"]);
        work();
        self.control(&["-d"]);
        self.dumps += 1;
        let path = self.dir.path().join(format!("out.{}", self.dumps));
        read(&std::fs::read_to_string(path).expect("a dump"), &module())
    }

    fn control(&self, words: &[&str]) {
        let mut control = Command::new("callgrind_control");
        let output = control.args(words).arg(self.server.pid().to_string()).output();
        let text = String::from_utf8_lossy(&output.expect("callgrind_control").stdout).into_owned();
        assert!(text.contains("OK"), "{words:?}: {text}");
    }
}

/// The format is that of valgrind's manual, without its compression: `ob=` names the object that the
/// lines after it are in, `fn=` the function; after `calls=` comes the call's inclusive cost.
fn read(dump: &str, module: &Path) -> Count {
    let module = module.to_string_lossy();
    let mut costs: HashMap<bool, f64> = HashMap::new();
    let (mut cron, mut called, mut walks) = (0.0, 0.0, 0.0);
    let mut in_module = false;
    let mut function = "";
    let mut callee = ("", false);
    let mut is_call = false;
    for line in dump.lines() {
        let starts_with_digit = line.starts_with(|c: char| c.is_ascii_digit());
        if let Some(object) = line.strip_prefix("ob=") {
            in_module = object == module;
            callee = ("", in_module);
        } else if let Some(name) = line.strip_prefix("fn=") {
            function = name;
            callee = ("", in_module);
        } else if let Some(object) = line.strip_prefix("cob=") {
            callee.1 = object == module;
        } else if let Some(name) = line.strip_prefix("cfn=") {
            callee.0 = name;
        } else if line.starts_with("calls=") {
            is_call = true;
        } else if starts_with_digit {
            let cost: f64 = line
                .rsplit(' ')
                .next()
                .and_then(|cost| cost.parse().ok())
                .unwrap_or(0.0);
            if !is_call && function == EVENTS {
                walks += cost;
            }
            if !is_call {
                *costs.entry(in_module).or_default() += cost;
            } else if callee.0 == CRON && function != CRON {
                cron += cost;
            } else if in_module && !callee.1 {
                called += cost;
            }
            if is_call {
                callee = ("", in_module);
            }
            is_call = false;
        }
    }
    let own = costs.get(&true).copied().unwrap_or(0.0);
    Count {
        all: own + costs.get(&false).copied().unwrap_or(0.0) - cron,
        own,
        called,
        walks,
    }
}
