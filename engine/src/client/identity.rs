//! Identity: who a connection says to be, small enough to keep for each.

use crate::text::word::head;

/// FNV-1a (Fowler, Noll, Vo) of user and name, as far as rules match them: a change is missed once in four billion
/// times, until the next full recheck.
pub fn hash(user: &[u8], name: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let (user, name) = (head(user), head(name));
    let hash = user.iter().fold(0x811c_9dc5, step);
    name.iter().fold(step(hash, &0), step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_name_are_told_apart_also_where_they_meet() {
        assert_eq!(hash(b"app", b"x"), hash(b"app", b"x"));
        let all = [
            ("app", "x"),
            ("ap", "px"),
            ("appx", ""),
            ("", "appx"),
            ("app", "y"),
            ("", ""),
            (&"x".repeat(255), ""),
            ("", &"x".repeat(255)),
        ];
        let prints: alloc::collections::BTreeSet<u32> = all
            .iter()
            .map(|(user, name)| hash(user.as_bytes(), name.as_bytes()))
            .collect();
        assert_eq!(prints.len(), all.len());
    }
}
