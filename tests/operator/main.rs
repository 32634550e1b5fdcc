//! What an operator asks of the module, end to end: filters, rules, LIST, LOG, SELF, drains,
//! and every example of the documentation, in real servers.
//!
//! Stands on the same scaffolding as the other end-to-end tests.

// A test that can't go on fails.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods
)]

mod acl;
mod called_by_others;
mod docs_of_commands;
mod dry_run;
mod evening;
mod examples;
mod filters;
mod front_door;
mod install;
mod kill_over;
mod list;
mod log;
mod long_texts;
mod looks;
mod many;
mod paused;
mod rows;
mod rules;
mod self_;
#[path = "../e2e/support/mod.rs"]
mod support;

mod wrong_uses;
