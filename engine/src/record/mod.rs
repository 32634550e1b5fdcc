//! Record: what has been done, for LOG and INFO.

pub mod journal;
pub mod summary;
pub mod tally;
