//! connage: an age limit for client connections, as a module for Redis and Valkey.
//!
//! Here is the shell: it touches the server and never decides. The engine (`connage_engine`) decides and never
//! touches the server.

#![deny(unsafe_op_in_unsafe_fn)]

mod api;
mod close;
mod commands;
mod config;
mod events;
mod fault;
#[cfg(feature = "test-faults")]
mod faults;
mod gates;
mod info;
mod kernel;
mod linger;
mod look;
mod module;
mod pacemaker;
mod server_log;
mod state;
mod unload;
mod verify;
