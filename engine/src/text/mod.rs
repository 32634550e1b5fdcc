//! Text: what users and servers write, before anybody knows what it is about.

pub mod address;
pub mod args;
pub mod glob;
pub mod time;
pub mod word;
