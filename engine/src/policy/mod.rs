//! Policy: what the operator wants, and the limits that follow.

pub mod jitter;
pub mod limit;
mod pattern;
pub mod percent;
pub mod rule;
pub mod rules;
pub mod settings;
pub mod types;
mod value;
