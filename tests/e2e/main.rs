//! End-to-end tests: the module in real servers, with real connections.
//!
//! They take the servers from `.servers` (scripts/servers.sh fetches them) and the module
//! from `target/release`, or from where `CONNAGE_MODULE` says. A test's name is the sentence
//! that it proves, and the server that it proves it on.

// A test that can't go on fails.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods
)]

mod blocked;
mod bounded;
mod clock;
mod descriptors;
mod evict;
mod faults;
mod grace;
mod info;
mod kill;
mod lingering;
mod load_unload;
mod nested;
mod nothing_lost;
mod pauses;
mod rate;
mod renamed;
mod servers;
mod settings;
mod spared;
mod support;
mod unload;
mod watching;
