//! The shell touches the server and never decides.

mod clock;
mod close;
mod commands;
mod config;
mod events;
mod fault;
#[cfg(feature = "test-faults")]
mod faults;
mod ffi;
mod gates;
mod info;
mod linger;
mod log;
mod look;
mod module;
mod pacemaker;
mod state;
mod unload;
mod verify;
