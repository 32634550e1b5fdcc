//! The engine decides and never touches the server: no clock, no I/O, no randomness.
//!
//! Rooms that import downwards only: text < client < policy, record < request < reaper, but request not from record.

#![cfg_attr(not(test), no_std)] // Only tests have std.
#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

extern crate alloc;

pub mod client;
pub mod policy;
pub mod reaper;
pub mod record;
pub mod request;
pub mod text;
