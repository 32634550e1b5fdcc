//! What production does to a module: replication, Sentinel and Cluster, hostile clients, a
//! loop that is blocked, bad input, faults, a long load, and valgrind.
//!
//! Beside the end-to-end tests, on the same servers and the same harness. The long ones run
//! short here; `make soak` and `make fuzz` give them their time through `CONNAGE_SOAK_SECONDS`
//! and `CONNAGE_COMMANDS`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods
)]
// The harness has more than these tests use.
#![allow(dead_code)]

#[path = "../fuzz/inputs.rs"]
mod inputs;
#[path = "../e2e/support/mod.rs"]
mod support;

mod acl_and_rights;
mod bad_input;
mod blocked_loop;
mod bypass;
mod churn;
mod cluster;
mod faults;
mod hostile;
mod memory;
mod replication;
mod sentinel;
mod soak;
