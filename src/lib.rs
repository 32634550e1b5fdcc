//! connage: an age limit for client connections, as a module for Redis and Valkey.
//!
//! Here is the shell: it touches the server and never decides. The engine (`connage_engine`) decides and never
//! touches the server.

// What the compiler can't check is done in two rooms, and at the two functions that the server looks up.
#![deny(unsafe_code, unsafe_op_in_unsafe_fn)]

mod advice;
#[allow(unsafe_code)] // The server's module API.
mod api;
mod close;
mod commands;
mod config;
mod events;
mod fault;
mod gates;
mod info;
#[allow(unsafe_code)] // The kernel's calls.
mod kernel;
mod linger;
mod look;
mod module;
mod pacemaker;
mod server_log;
mod state;
#[cfg(feature = "test-faults")]
mod test_faults;
mod unload;
mod verify;
mod wakers;
