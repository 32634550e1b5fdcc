//! Limits: how many descriptors the process may have, and the room that the kernel has made for them.

use super::socket::duplicate;
use libc::c_int;

/// Raises the soft limit of descriptors to `needed`, as far as the hard limit allows; answers with the
/// limit that holds then.
pub fn raise_descriptor_limit(needed: u64) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a valid place to write to.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return 0;
    }
    let raised = libc::rlimit {
        rlim_cur: needed.min(limit.rlim_max),
        ..limit
    };
    if raised.rlim_cur <= limit.rlim_cur {
        return limit.rlim_cur;
    }
    // SAFETY: a valid structure.
    let answer = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) };
    if answer == 0 {
        raised.rlim_cur
    } else {
        limit.rlim_cur
    }
}

/// Has the kernel's table of descriptors reach to `number`.
pub fn make_room_for(number: c_int) {
    let standard = [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO];
    // The kernel's table stays as large as a duplicate has made it.
    let copy = standard.into_iter().find_map(|fd| duplicate(fd, number).ok());
    drop(copy);
}
