//! The kernel's calls, made safe: with `api` the only place that has `unsafe`. Decides nothing.

pub mod clock;
pub mod limits;
pub mod socket;
#[cfg(test)]
pub mod tests;
pub mod timer;

/// Random bits, for the jitter's seed.
pub fn random() -> u64 {
    let mut bits = 0_u64;
    // SAFETY: a valid place of eight bytes.
    let got = unsafe { libc::getrandom((&raw mut bits).cast(), size_of::<u64>(), libc::GRND_NONBLOCK) };
    if usize::try_from(got) == Ok(size_of::<u64>()) {
        bits
    } else {
        clock::monotonic_us() ^ (clock::wall_ms() << 20)
    }
}
