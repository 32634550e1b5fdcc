//! That whoever reads one page finds the others, and what a page names is there.
//!
//! What the pages' examples do is tried in `examples`.

use crate::rows::names;
use crate::support::matrix::run;
use crate::support::server::{info, Setup};
use crate::support::wait_until;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(page: &str) -> String {
    std::fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// What is in a folder of the project, by its path from the root.
fn entries(folder: &str) -> BTreeSet<String> {
    let found = std::fs::read_dir(root().join(folder)).expect("a folder");
    let names = found.map(|entry| {
        entry
            .expect("an entry")
            .file_name()
            .into_string()
            .expect("a name")
    });
    names
        .map(|name| {
            if folder.is_empty() {
                name
            } else {
                format!("{folder}/{name}")
            }
        })
        .collect()
}

/// All that is there to be read: at the root, in `docs`, and of each client's package.
fn pages() -> BTreeSet<String> {
    let mut pages: BTreeSet<String> = ["", "docs"].iter().flat_map(|folder| entries(folder)).collect();
    pages.retain(|path| path.ends_with(".md"));
    let packages = entries("clients")
        .into_iter()
        .map(|client| format!("{client}/README.md"));
    pages.extend(packages.filter(|page| root().join(page).exists()));
    pages
}

/// Text outside of blocks of code, and those blocks.
fn prose_and_blocks(page: &str) -> (String, String) {
    let (mut prose, mut blocks, mut inside) = (String::new(), String::new(), false);
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
            continue;
        }
        let part = if inside { &mut blocks } else { &mut prose };
        part.push_str(line);
        part.push('\n');
    }
    (prose, blocks)
}

fn links(page: &str) -> Vec<String> {
    let (prose, _) = prose_and_blocks(page);
    let targets = prose
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let inner = targets.filter(|link| !link.contains("://"));
    inner.map(str::to_owned).collect()
}

/// As forges name a heading in an address.
fn anchors(page: &str) -> BTreeSet<String> {
    let (prose, _) = prose_and_blocks(page);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let name = |heading: &str| {
        let kept = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(name).collect()
}

/// Where a link leads, from the page that has it: a path from the root, and a heading.
fn target(page: &str, link: &str) -> (PathBuf, Option<String>) {
    let (path, heading) = match link.split_once('#') {
        Some((path, heading)) => (path, Some(heading.to_owned())),
        None => (link, None),
    };
    let from = Path::new(page);
    let path = match path {
        "" => from.to_path_buf(),
        path => from.parent().unwrap_or(Path::new("")).join(path),
    };
    (path, heading)
}

#[test]
fn every_link_leads_to_a_file_and_to_a_heading_of_it() {
    let mut followed = 0;
    for page in pages() {
        for link in links(&read(&page)) {
            followed += 1;
            let (path, heading) = target(&page, &link);
            assert!(root().join(&path).exists(), "{page}: {link}");
            if let Some(heading) = heading {
                let there = anchors(&read(path.to_str().expect("a path")));
                assert!(there.contains(&heading), "{page}: {link} is none of {there:?}");
            }
        }
    }
    assert!(followed > 40, "only {followed} links");
}

#[test]
fn readme_leads_to_every_page_and_to_the_licences() {
    let led: BTreeSet<PathBuf> = links(&read("README.md"))
        .iter()
        .map(|link| target("README.md", link).0)
        .collect();
    let mut wanted = pages();
    wanted.remove("README.md");
    wanted.extend(entries("").into_iter().filter(|name| name.starts_with("LICENSE")));
    assert!(wanted.len() > 10, "only {wanted:?}");
    for page in wanted {
        assert!(led.contains(Path::new(&page)), "README.md has no link to {page}");
    }
}

#[test]
fn readme_names_every_command_and_setting_and_all_that_is_answered() {
    run("redis-7.0", false, |on| {
        let server = Setup::of(on).module("").start();
        let mut admin = server.admin();
        let mut goes = server.client();
        let id = goes.id();
        admin.ok(&format!("CONNAGE.KILL ID {id}"));
        goes.ends();
        wait_until("an entry", || admin.ok("CONNAGE.LOG LEN").int() == 1);
        let commands = admin.ok("COMMAND LIST FILTERBY MODULE connage");
        let commands = commands.list().iter().map(|name| name.text().to_uppercase());
        let section = info(&mut admin, "connage").into_keys();
        let fields = section.map(|field| field.trim_start_matches("connage_").to_owned());
        let named: [(&str, usize, Vec<String>); 5] = [
            (
                "commands",
                5,
                commands.filter(|name| !name.contains('|')).collect(),
            ),
            ("settings", 9, names(&admin.ok("CONNAGE.CONFIG GET *"))),
            ("INFO", 29, fields.collect()),
            ("LIST", 14, names(&admin.ok("CONNAGE.LIST LIMIT 1").list()[0])),
            ("LOG", 13, names(&admin.ok("CONNAGE.LOG GET 1").list()[0])),
        ];
        let readme = read("README.md");
        for (what, least, names) in named {
            assert!(names.len() >= least, "{what}: only {names:?}");
            for name in names {
                // `CONNAGE.SELF [MAXAGE d]` names it as well.
                let there = [format!("`{name}`"), format!("`{name} ")];
                assert!(
                    there.iter().any(|code| readme.contains(code)),
                    "{what}: {name} is not in README.md"
                );
            }
        }
    });
}

/// What a page for those who work on the code calls by its path: in code, or in a block.
fn named_paths(page: &str) -> BTreeSet<String> {
    let (prose, blocks) = prose_and_blocks(page);
    let code: Vec<&str> = prose.split('`').skip(1).step_by(2).collect();
    let words = code
        .iter()
        .flat_map(|code| code.split_whitespace())
        .chain(blocks.split_whitespace());
    words.filter(|word| is_path(word)).map(str::to_owned).collect()
}

fn is_path(word: &str) -> bool {
    let plain = word
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "._/-".contains(c));
    let ends = [
        ".rs", ".md", ".toml", ".sh", ".yml", ".py", ".mjs", ".txt", ".svg",
    ];
    let named = word.contains('/')
        || ends
            .iter()
            .any(|end| word.len() > end.len() && word.ends_with(end));
    // Built or fetched, and so not always there; and what is not the project's.
    let elsewhere = ["target/", ".servers", ".tools", "/", "//", "-"];
    plain && named && !elsewhere.iter().any(|start| word.starts_with(start))
}

#[test]
fn paths_are_told_from_other_words() {
    let page = "See `src/close.rs`, `make lint`, and/or `engine/src/text/` or `a::b`.\n\
        ```text\nengine/src/client/   one connection, see Cargo.toml\n```\n\
        `cargo test -p connage-engine tally.rs` `target/release/x.so` `/usr/lib` `INFO`";
    let named: Vec<String> = named_paths(page).into_iter().collect();
    let wanted = [
        "Cargo.toml",
        "engine/src/client/",
        "engine/src/text/",
        "src/close.rs",
        "tally.rs",
    ];
    assert_eq!(named, wanted);
}

#[test]
fn every_path_that_the_pages_for_engineers_name_is_there() {
    for page in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let named = named_paths(&read(page));
        assert!(named.len() > 10, "{page} names only {named:?}");
        for path in named {
            assert!(root().join(&path).exists(), "{page}: {path} is not there");
        }
    }
}

#[test]
fn architecture_md_names_every_folder_of_the_sources() {
    let named = named_paths(&read("ARCHITECTURE.md"));
    for sources in ["src", "engine/src"] {
        let folders = entries(sources)
            .into_iter()
            .filter(|path| root().join(path).is_dir());
        for folder in folders {
            assert!(
                named.contains(&format!("{folder}/")),
                "ARCHITECTURE.md does not name {folder}/"
            );
        }
    }
}
