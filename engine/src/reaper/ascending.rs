//! Ascending: a sorted map for keys that come in ascending order, as the server's client ids do.
//!
//! Chunks of up to 64 entries under one index. To add at the end is to push; to find is a binary search
//! in the index and one in a chunk; to remove moves at most a chunk's 2 KB. A B-tree takes three
//! times the instructions, and leaves its nodes half empty when keys ascend. Must not know what it holds.

use crate::client::ClientId;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

const CHUNK: usize = 64;

#[derive(Debug)]
struct Chunk<V> {
    /// No key in it is lower. Kept here so that a search touches no chunk but the right one.
    first: ClientId,
    /// Never empty, sorted, with room for [`CHUNK`].
    entries: Vec<(ClientId, V)>,
}

impl<V> Chunk<V> {
    fn starting_with(key: ClientId, value: V) -> Self {
        let mut entries = Vec::with_capacity(CHUNK);
        entries.push((key, value));
        Chunk { first: key, entries }
    }

    /// Where `key` is, or belongs. Keys are whole numbers, so the first and the last bound its place from
    /// both sides: where few are missing between them, there is next to nothing to search.
    fn place(&self, key: ClientId) -> Result<usize, usize> {
        let [(first, _), .., (last, _)] = self.entries.as_slice() else {
            return self.entries.binary_search_by_key(&key, |(key, _)| *key);
        };
        if key < *first {
            return Err(0);
        }
        if key > *last {
            return Err(self.entries.len());
        }
        let near = |distance: u64| usize::try_from(distance).unwrap_or(usize::MAX);
        let from = (self.entries.len() - 1).saturating_sub(near(last.0 - key.0));
        let to = near(key.0 - first.0).saturating_add(1).min(self.entries.len());
        let between = self.entries.get(from..to).unwrap_or_default();
        match between.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(place) => Ok(from + place),
            Err(place) => Err(from + place),
        }
    }
}

/// The map.
#[derive(Debug)]
pub(super) struct Ascending<V> {
    chunks: VecDeque<Chunk<V>>,
    len: usize,
}

impl<V> Default for Ascending<V> {
    fn default() -> Self {
        Ascending {
            chunks: VecDeque::new(),
            len: 0,
        }
    }
}

impl<V> Ascending<V> {
    /// The only chunk that can hold `key`; the first where it is lower than all.
    fn chunk_of(&self, key: ClientId) -> usize {
        let last = self.chunks.len().saturating_sub(1);
        if self.chunks.back().is_none_or(|chunk| chunk.first <= key) {
            return last;
        }
        self.chunks
            .partition_point(|chunk| chunk.first <= key)
            .saturating_sub(1)
    }

    /// Adds an entry; where `key` is there already, nothing changes.
    pub(super) fn insert(&mut self, key: ClientId, value: V) {
        match self.chunks.back_mut() {
            Some(chunk) if chunk.entries.last().is_some_and(|(last, _)| *last >= key) => {
                self.insert_between(key, value);
                return;
            }
            Some(chunk) if chunk.entries.len() < CHUNK => chunk.entries.push((key, value)),
            _ => self.chunks.push_back(Chunk::starting_with(key, value)),
        }
        self.len += 1;
    }

    fn insert_between(&mut self, key: ClientId, value: V) {
        let at = self.chunk_of(key);
        let Some(chunk) = self.chunks.get_mut(at) else {
            return;
        };
        let Err(place) = chunk.place(key) else {
            return;
        };
        self.len += 1;
        chunk.first = chunk.first.min(key);
        chunk.entries.insert(place, (key, value));
        if chunk.entries.len() > CHUNK {
            let mut entries = Vec::with_capacity(CHUNK);
            entries.extend(chunk.entries.drain(CHUNK / 2..));
            chunk.entries.shrink_to(CHUNK);
            if let Some(first) = entries.first().map(|(key, _)| *key) {
                self.chunks.insert(at + 1, Chunk { first, entries });
            }
        }
    }

    pub(super) fn remove(&mut self, key: ClientId) -> Option<V> {
        let at = self.chunk_of(key);
        let chunk = self.chunks.get_mut(at)?;
        let place = chunk.place(key).ok()?;
        let (_, value) = chunk.entries.remove(place);
        self.len -= 1;
        let left = chunk.entries.len();
        if left == 0 {
            self.chunks.remove(at);
        } else if left < CHUNK / 2 && self.chunks.len() > 1 && !self.merge(at) && at > 0 {
            self.merge(at - 1);
        }
        Some(value)
    }

    /// Joins a chunk and the one after it, if one has room for both.
    fn merge(&mut self, at: usize) -> bool {
        let len = |at| self.chunks.get(at).map_or(CHUNK, |chunk| chunk.entries.len());
        if len(at) + len(at + 1) > CHUNK {
            return false;
        }
        if let Some(mut after) = self.chunks.remove(at + 1) {
            if let Some(chunk) = self.chunks.get_mut(at) {
                chunk.entries.append(&mut after.entries);
            }
        }
        true
    }

    pub(super) fn get(&self, key: ClientId) -> Option<&V> {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let (_, value) = chunk.entries.get(chunk.place(key).ok()?)?;
        Some(value)
    }

    pub(super) fn get_mut(&mut self, key: ClientId) -> Option<&mut V> {
        let at = self.chunk_of(key);
        let chunk = self.chunks.get_mut(at)?;
        let place = chunk.place(key).ok()?;
        let (_, value) = chunk.entries.get_mut(place)?;
        Some(value)
    }

    pub(super) fn first(&self) -> Option<(ClientId, &V)> {
        let (key, value) = self.chunks.front()?.entries.first()?;
        Some((*key, value))
    }

    pub(super) fn last(&self) -> Option<(ClientId, &V)> {
        let (key, value) = self.chunks.back()?.entries.last()?;
        Some((*key, value))
    }

    /// The entry with the highest key below `key`.
    pub(super) fn before(&self, key: ClientId) -> Option<(ClientId, &V)> {
        let at = self.chunk_of(key);
        let chunk = self.chunks.get(at)?;
        let (Ok(place) | Err(place)) = chunk.place(key);
        let (key, value) = match place.checked_sub(1) {
            Some(place) => chunk.entries.get(place)?,
            None => self.chunks.get(at.checked_sub(1)?)?.entries.last()?,
        };
        Some((*key, value))
    }

    /// The entries with keys above `key`, in order.
    pub(super) fn after(&self, key: ClientId) -> impl Iterator<Item = (ClientId, &V)> {
        self.chunks
            .iter()
            .skip(self.chunk_of(key))
            .flat_map(move |chunk| {
                let from = if chunk.first > key {
                    0
                } else {
                    match chunk.place(key) {
                        Ok(place) => place + 1,
                        Err(place) => place,
                    }
                };
                chunk.entries.get(from..).unwrap_or_default()
            })
            .map(|(key, value)| (*key, value))
    }

    /// All, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ClientId, &V)> {
        let entries = self.chunks.iter().flat_map(|chunk| &chunk.entries);
        entries.map(|(key, value)| (*key, value))
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        let entries = self.chunks.iter_mut().flat_map(|chunk| &mut chunk.entries);
        entries.map(|(_, value)| value)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// In bytes, but for what the allocator adds.
    pub(super) fn memory(&self) -> usize {
        let chunks = self.chunks.len() * CHUNK * size_of::<(ClientId, V)>();
        chunks + self.chunks.capacity() * size_of::<Chunk<V>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Come,
        ComeLate(u64),
        Go(u64),
        OldestGoes,
        NewestGoes,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => Just(Step::Come),
            1 => (1..3_000_u64).prop_map(Step::ComeLate),
            4 => (1..3_000_u64).prop_map(Step::Go),
            2 => Just(Step::OldestGoes),
            2 => Just(Step::NewestGoes),
        ]
    }

    proptest! {
        #[test]
        fn it_holds_what_a_b_tree_holds(steps in prop::collection::vec(step(), 0..3_000), at in 0..3_000_u64) {
            let (mut map, mut model) = (Ascending::default(), BTreeMap::new());
            let mut next = 0;
            for (number, step) in steps.into_iter().enumerate() {
                let gone = match step {
                    Step::Come => {
                        next += 1;
                        map.insert(ClientId(next), number);
                        model.insert(ClientId(next), number);
                        continue;
                    }
                    Step::ComeLate(key) => {
                        next = next.max(key);
                        map.insert(ClientId(key), number);
                        model.entry(ClientId(key)).or_insert(number);
                        continue;
                    }
                    Step::Go(key) => Some(ClientId(key)),
                    Step::OldestGoes => map.first().map(|(key, _)| key),
                    Step::NewestGoes => map.last().map(|(key, _)| key),
                };
                let Some(gone) = gone else { continue };
                prop_assert_eq!(map.remove(gone), model.remove(&gone));
            }
            prop_assert_eq!(map.len(), model.len());
            prop_assert!(map.iter().eq(model.iter().map(|(key, value)| (*key, value))));
            let at = ClientId(at);
            prop_assert_eq!(map.get(at), model.get(&at));
            prop_assert_eq!(map.get_mut(at), model.get_mut(&at));
            let before = model.range(..at).next_back().map(|(key, value)| (*key, value));
            prop_assert_eq!(map.before(at), before);
            let above = model.range(ClientId(at.0 + 1)..).map(|(key, value)| (*key, value));
            prop_assert!(map.after(at).eq(above));
            for chunk in &map.chunks {
                prop_assert!(chunk.entries.first().is_some_and(|(key, _)| *key >= chunk.first));
                prop_assert!(chunk.entries.capacity() <= CHUNK);
            }
        }
    }

    #[test]
    fn chunks_are_half_full_whoever_goes() {
        let mut map = Ascending::default();
        (1..=64_000).for_each(|key| map.insert(ClientId(key), ()));
        assert_eq!(map.chunks.len(), 1_000);
        (1..=64_000)
            .filter(|key| key % 16 != 0)
            .for_each(|key| assert!(map.remove(ClientId(key)).is_some()));
        assert_eq!(map.len(), 4_000);
        assert!(map.chunks.len() <= 126, "{} chunks", map.chunks.len());
    }
}
