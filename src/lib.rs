//! connage: an age limit for client connections, as a module for Redis and Valkey.
//!
//! The engine decides and never touches the server; the shell touches the server and never decides.
//! The shell is left out of the engine's tests, so that an engine which leans on it does not build.

#![deny(unsafe_op_in_unsafe_fn)]

pub mod engine;
#[cfg(not(test))]
mod shell;
