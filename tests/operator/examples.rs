//! Every example of README.md and docs/*.md, run.
//!
//! In a ```console block a line that begins with `> ` goes to redis-cli (`-3 --no-raw`), one
//! that begins with `$ ` to bash; what follows is what it shows. There `…` stands for
//! anything within a line, and a line of its own for any lines; blanks count as one. Port
//! 6379 is the server's, /usr/lib/connage/libconnage.so the module, $SERVER_LOG the log.
//! Each page has a server of its own. A ```conf block is a configuration that a server
//! starts with. Other blocks are listed in `other_blocks`: what is not known there fails.

use crate::support::conn::{Conn, PATIENCE};
use crate::support::matrix::run;
use crate::support::server::{Server, Setup};
use crate::support::wait_until;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const ON: &str = "redis-7.0";
const MODULE: &str = "/usr/lib/connage/libconnage.so";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

struct Block {
    language: String,
    line: usize,
    text: Vec<String>,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (number, line) in page.lines().enumerate() {
        match line.trim_start().strip_prefix("```") {
            Some(language) if !open => {
                open = true;
                blocks.push(Block {
                    language: language.into(),
                    line: number + 1,
                    text: Vec::new(),
                });
            }
            Some(_) => open = false,
            None if open => blocks.last_mut().expect("an open one").text.push(line.into()),
            None => {}
        }
    }
    assert!(!open, "a block without an end");
    blocks
}

/// Commands with what they are said to show.
fn steps(block: &Block) -> Vec<(String, Vec<String>)> {
    let mut steps: Vec<(String, Vec<String>)> = Vec::new();
    for line in &block.text {
        if line.starts_with("> ") || line.starts_with("$ ") {
            steps.push((line.clone(), Vec::new()));
        } else {
            let step = steps.last_mut().expect("output comes after its command");
            step.1.push(line.clone());
        }
    }
    steps
}

fn squeezed(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `…` stands for anything.
fn line_fits(wanted: &str, said: &str) -> bool {
    let mut parts = wanted.split('…');
    let Some(mut rest) = said.strip_prefix(parts.next().unwrap_or("")) else {
        return false;
    };
    let mut last = "";
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
        last = part;
    }
    rest.is_empty() || (wanted.contains('…') && said.ends_with(last))
}

fn fits(wanted: &[String], said: &[String]) -> bool {
    match wanted.split_first() {
        None => said.is_empty(),
        Some((any, rest)) if any == "…" => (0..=said.len()).any(|skip| fits(rest, &said[skip..])),
        Some((first, rest)) => match said.split_first() {
            Some((line, more)) => line_fits(first, line) && fits(rest, more),
            None => false,
        },
    }
}

#[test]
fn the_comparison_tells_what_fits_from_what_does_not() {
    let lines = |text: &str| -> Vec<String> { text.lines().map(squeezed).collect() };
    for (wanted, said, verdict) in [
        ("OK", "OK", true),
        ("OK", "OK then", false),
        ("(integer) …", "(integer) 5", true),
        ("(integer) …", "(error) 5", false),
        ("a …\n…\nz", "a 1\nb\nc\nz", true),
        ("a …\n…\nz", "a 1\nb\nc\nzz", false),
        ("…", "", true),
        ("a … c", "a b d", false),
        ("a", "a\nb", false),
        (" 1)  \"x\"", "1) \"x\"", true),
    ] {
        assert_eq!(fits(&lines(wanted), &lines(said)), verdict, "{wanted:?} {said:?}");
    }
}

/// The server of a page, with those connected whom pages speak of: three of app, two of
/// ci-1.
struct Page {
    server: Server,
    _conns: Vec<Conn>,
    tools: tempfile::TempDir,
}

fn module() -> String {
    let built = || root().join("target/release/libconnage.so").display().to_string();
    std::env::var("CONNAGE_MODULE").unwrap_or_else(|_| built())
}

fn page_server(name: &str) -> Page {
    let mut setup = Setup::of(ON);
    if name != "enable.md" {
        setup = setup.module("");
    }
    if name == "sentinel-and-cluster.md" {
        setup = setup.line("cluster-enabled yes");
    }
    let server = setup.start();
    let mut admin = server.admin();
    if name == "sentinel-and-cluster.md" {
        admin.ok("CLUSTER ADDSLOTSRANGE 0 16383");
        wait_until("the cluster", || {
            admin.ok("CLUSTER INFO").text().contains("cluster_state:ok")
        });
    }
    for (user, password) in [("app", "old-password"), ("ci-1", "x"), ("ops", "x")] {
        admin.ok(&format!(
            "ACL SETUSER {user} on >{password} ~* &* +@all -@dangerous +client|no-evict"
        ));
    }
    let mut conns = server.clients(5);
    for (place, conn) in conns.iter_mut().enumerate() {
        conn.ok(if place < 3 {
            "AUTH app old-password"
        } else {
            "AUTH ci-1 x"
        });
    }
    let tools = tempfile::tempdir().expect("a folder");
    let cli = root().join(".servers").join(ON).join("cli");
    std::os::unix::fs::symlink(cli, tools.path().join("redis-cli")).expect("a link");
    Page {
        server,
        _conns: conns,
        tools,
    }
}

impl Page {
    fn show(&self, line: &str) -> Vec<String> {
        let port = self.server.port.to_string();
        let (kind, line) = line.split_at(2);
        let line = line.replace(MODULE, &module()).replace("6379", &port);
        let path = format!(
            "{}:{}",
            self.tools.path().display(),
            std::env::var("PATH").unwrap_or_default()
        );
        let script = match kind {
            // With quotes and blanks as redis-cli reads them on its prompt.
            "> " => "redis-cli -p \"$PORT\" -3 --no-raw".to_string(),
            _ => line.replace("redis-cli ", "redis-cli -p \"$PORT\" "),
        };
        let mut child = Command::new("bash")
            .args(["-c", &script])
            .env("PATH", path)
            .env("TERM", "dumb") // without colours
            .env("PORT", &port)
            .env("SERVER_LOG", self.server.log_path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("bash");
        if kind == "> " {
            use std::io::Write;
            let mut input = child.stdin.take().expect("piped");
            writeln!(input, "{line}").expect("written");
        }
        let output = child.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines = text.lines().map(squeezed);
        lines.filter(|line| !line.is_empty()).collect()
    }

    fn console(&self, name: &str, block: &Block) {
        for (command, wanted) in steps(block) {
            let wanted: Vec<String> = wanted.iter().map(|line| squeezed(line)).collect();
            // What a command started may take a moment to be seen.
            let deadline = std::time::Instant::now() + PATIENCE;
            let mut said;
            loop {
                let reads =
                    command.contains("INFO") || command.contains("LOG GET") || command.contains("LIST");
                said = self.show(&command);
                if fits(&wanted, &said) || !reads || std::time::Instant::now() > deadline {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            assert!(
                fits(&wanted, &said),
                "{name}, block at line {}: {command}\nsays:\n{}\nwhere the page has:\n{}",
                block.line,
                said.join("\n"),
                wanted.join("\n")
            );
        }
    }
}

/// A server starts with it, and says that the module is there.
fn configuration(block: &Block) {
    let mut setup = Setup::of(ON);
    for line in &block.text {
        setup = setup.line(&line.replace(MODULE, &module()));
    }
    let server = setup.start();
    let mut admin = server.admin();
    assert_eq!(admin.ok("MODULE LIST").list().len(), 1, "{:?}", block.text);
}

/// Hooks of client libraries are not run here, which would take their languages: but each
/// sends the command that it says, and the server takes it. Targets of make are there.
fn other_blocks(name: &str, block: &Block, page: &Page) {
    let text = block.text.join("\n");
    match block.language.as_str() {
        "rust" | "go" | "java" | "js" | "python" => {
            let quoted: Vec<&str> = text.split('"').collect();
            assert!(
                text.contains("CONNAGE.SELF") || text.contains("connage"),
                "{name}: {text}"
            );
            if text.contains("CONNAGE.SELF") {
                let words: Vec<&str> = quoted
                    .iter()
                    .flat_map(|part| part.split_whitespace())
                    .skip_while(|word| *word != "CONNAGE.SELF")
                    .filter(|word| word.chars().all(|c| c.is_ascii_alphanumeric() || c == '.'))
                    .take(3)
                    .collect();
                assert_eq!(words[..2], ["CONNAGE.SELF", "MAXAGE"], "{name}: {text}");
                let mut conn = page.server.client();
                let reply = conn.call(&words);
                assert!(!reply.is_error(), "{words:?}: {reply:?}");
            }
        }
        "sh" => {
            let makefile = std::fs::read_to_string(root().join("Makefile")).expect("the Makefile");
            for line in &block.text {
                let target = line.split('#').next().unwrap_or("").trim().strip_prefix("make ");
                let target = target.unwrap_or_else(|| panic!("{name}: only make is run: {line}"));
                assert!(
                    makefile.contains(&format!("\n{target}:")),
                    "{name}: no target {target}"
                );
            }
        }
        "text" => {} // a rule's grammar, or a picture of text: nothing to run
        other => panic!("{name}, line {}: nobody runs a block of {other:?}", block.line),
    }
}

fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md")];
    let docs = std::fs::read_dir(root().join("docs")).expect("docs");
    let docs = docs.map(|entry| entry.expect("a file").path());
    pages.extend(docs.filter(|path| path.extension().is_some_and(|end| end == "md")));
    pages.sort();
    pages
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("a name")
}

#[test]
fn every_example_of_readme_and_docs_does_what_the_page_says() {
    run(ON, false, |_| {
        let (mut ran, mut wrong) = (0, Vec::new());
        for path in pages() {
            let name = file_name(&path);
            let text = std::fs::read_to_string(&path).expect("a page");
            let page = page_server(name);
            for block in blocks(&text) {
                ran += 1;
                let one = std::panic::AssertUnwindSafe(|| match block.language.as_str() {
                    "console" => page.console(name, &block),
                    "conf" => configuration(&block),
                    _ => other_blocks(name, &block, &page),
                });
                if std::panic::catch_unwind(one).is_err() {
                    wrong.push(format!("{name}:{}", block.line));
                }
            }
        }
        assert!(ran > 30, "only {ran} examples");
        assert!(wrong.is_empty(), "wrong examples: {wrong:?}");
    });
}

/// What `start` is followed by in the module's sources, up to `end`.
fn names_after(start: &str, end: char) -> BTreeSet<String> {
    let mut folders = vec![root().join("src")];
    let mut names = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("a file").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source");
            let after = text.split(start).skip(1);
            let called = after
                .filter_map(|rest| rest.split_once(end))
                .map(|(name, _)| name);
            let is_name = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            names.extend(called.filter(is_name).map(str::to_owned));
        }
    }
    names
}

#[test]
fn security_md_tells_of_every_call_that_the_module_makes() {
    let page = std::fs::read_to_string(root().join("docs/security.md")).expect("a page");
    let kernel = names_after("libc::", '(');
    assert!(kernel.contains("ioctl") && kernel.len() > 10, "{kernel:?}");
    for name in kernel {
        // As manual pages are cited: `clock_gettime(2)`.
        assert!(page.contains(&format!("`{name}(")), "{name}(2) is not named");
    }
    let server = names_after("call(ctx, c\"", '"');
    assert!(server.contains("CLIENT") && server.len() > 3, "{server:?}");
    for name in server {
        assert!(page.contains(&format!("`{name} ")), "{name} is not named");
    }
}

/// Copied as they are, they are to make no wave of reconnections every hour.
#[test]
fn every_example_that_sets_a_limit_has_jitter() {
    let mut seen = 0;
    for path in pages() {
        let text = std::fs::read_to_string(&path).expect("a page");
        for block in blocks(&text) {
            let code = block.text.join("\n");
            let sets = block.language == "conf" || code.contains("CONFIG SET");
            // Exempting, and what is refused, set none.
            let limits = ["maxage ", "maxage="].iter().any(|word| {
                let values = code.split(word).skip(1);
                values
                    .filter(|value| !value.starts_with("10x"))
                    .any(|value| value.starts_with(|digit: char| ('1'..='9').contains(&digit)))
            });
            if sets && limits {
                seen += 1;
                assert!(code.contains("jitter"), "{}:{}", file_name(&path), block.line);
            }
        }
    }
    assert!(seen > 10, "only {seen} examples set a limit");
}

/// `file::name`, as pages cite tests.
#[test]
fn every_test_that_a_page_cites_is_there() {
    let mut tests = Vec::new();
    let mut folders = ["tests", "src", "engine/src", "clients/python/tests"]
        .map(|name| root().join(name))
        .to_vec();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("a file").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs" || end == "py") {
                tests.push((path.clone(), std::fs::read_to_string(&path).expect("a source")));
            }
        }
    }
    let mut cited = 0;
    for path in pages() {
        let text = std::fs::read_to_string(&path).expect("a page");
        for (file, name) in text.split('`').filter_map(|code| code.split_once("::")) {
            let is_word = |word: &str| word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !is_word(file) || !is_word(name) {
                continue;
            }
            cited += 1;
            let there = tests.iter().any(|(path, text)| {
                let known = path.file_stem().is_some_and(|stem| stem == file)
                    || path.parent().is_some_and(|folder| folder.ends_with(file));
                known && (text.contains(&format!("fn {name}(")) || text.contains(&format!("def {name}(")))
            });
            assert!(there, "{}: {file}::{name}", file_name(&path));
        }
    }
    assert!(cited > 20, "only {cited} tests are cited");
}
