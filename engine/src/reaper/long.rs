//! Long: who calls itself something so long that to look at it is expensive. There is one at most in each look.

use super::{Reaper, Round};
use crate::client::ClientId;
use crate::reaper::registry::State;
use crate::text::time::Micros;

/// From here on, in bytes.
const LONG: usize = 4_096;
/// So much is read of user and name, all together, in one round.
pub const LONG_ROUND: usize = 64 * 1_024;

impl Reaper {
    pub(super) fn is_long(&self, id: ClientId) -> bool {
        !self.long.is_empty() && self.long.contains(&id)
    }

    /// Whether `id` may be looked at with the others: of those that are expensive by themselves, one in a round.
    pub(super) fn has_room(&self, round: &mut Round, id: ClientId) -> bool {
        let is_long = self.is_long(id);
        let has_room = !(is_long && round.has_long);
        round.has_long |= is_long;
        has_room
    }

    /// What was read of `id` had so many bytes.
    pub(super) fn note_length(&mut self, id: ClientId, bytes: usize) {
        self.texts = self.texts.saturating_add(bytes);
        if bytes > LONG {
            self.long.insert(id);
        } else if !self.long.is_empty() {
            self.long.remove(&id);
        }
    }

    /// Whether what was read in this round of `count` is mostly what clients made long.
    pub(super) fn is_mostly_long(&self, count: usize) -> bool {
        self.texts > LONG.max(count.saturating_mul(LONG / 4))
    }

    /// Which names are to be measured before a look: a name can be had alone, and a line only with all others.
    pub fn to_measure<'a>(&'a self, round: &'a Round) -> impl Iterator<Item = ClientId> + 'a {
        let those = round.look.iter().chain(&round.prefetch).copied();
        those.filter(|id| !self.is_long(*id))
    }

    /// Leaves those out whose names turned out to be long, but for one. `names` are the lengths for
    /// [`to_measure`](Self::to_measure), in its order, up to where they came to [`LONG_ROUND`]: the others
    /// have their turn in the next round.
    pub fn leave_out_the_long(&mut self, now: Micros, round: &mut Round, names: &[usize]) {
        let mut names = names.iter();
        for id in core::mem::take(&mut round.look) {
            let fits = self.is_long(id)
                || match names.next() {
                    None => false,
                    Some(bytes) if *bytes <= LONG => true,
                    Some(_) => {
                        self.long.insert(id);
                        self.has_room(round, id)
                    }
                };
            if fits {
                round.look.push(id);
            } else {
                let rechecked = self.registry.state(id) == Some(State::Rechecking);
                round.rechecks = round.rechecks.saturating_sub(usize::from(rechecked));
                self.put_back(now, id);
            }
        }
        round
            .prefetch
            .retain(|_| names.next().is_some_and(|bytes| *bytes <= LONG));
    }
}
