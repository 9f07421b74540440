//! Pieces known to be damaged or gone, and a number that tells whether the
//! list has grown since somebody looked.

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::types::PieceId;

/// The list. It may be read and changed from everywhere.
#[derive(Debug, Default)]
pub(super) struct Damage(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    ids: BTreeSet<PieceId>,
    version: u64,
}

impl Damage {
    /// A list that begins with these.
    pub(super) fn of(ids: impl IntoIterator<Item = PieceId>) -> Damage {
        let damage = Damage::default();
        damage.note(ids);
        damage
    }

    /// Adds pieces; the version rises by those that were not listed.
    pub(super) fn note(&self, ids: impl IntoIterator<Item = PieceId>) {
        let mut noted = self.noted();
        for id in ids {
            noted.version += u64::from(noted.ids.insert(id));
        }
    }

    /// Takes a piece off the list: it was stored anew, or purged.
    pub(super) fn forget(&self, id: &PieceId) {
        self.noted().ids.remove(id);
    }

    pub(super) fn version(&self) -> u64 {
        self.noted().version
    }

    /// Up to `limit` of them in the order of their ids, those after `after`.
    pub(super) fn page(&self, after: Option<PieceId>, limit: usize) -> Vec<PieceId> {
        let from = after.map_or(Unbounded, Excluded);
        self.noted().ids.range((from, Unbounded)).take(limit).copied().collect()
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        // A panic elsewhere leaves the list whole: a missed version at worst.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> PieceId {
        PieceId::from_bytes([number; PieceId::BYTES])
    }

    #[test]
    fn only_new_damage_raises_the_version() {
        let damage = Damage::of([id(2), id(1), id(2)]);
        assert_eq!(damage.version(), 2);
        damage.note([id(1)]);
        damage.forget(&id(1));
        assert_eq!((damage.version(), damage.page(None, 9)), (2, vec![id(2)]));
        damage.note([id(1), id(3)]);
        assert_eq!(
            (damage.version(), damage.page(None, 9)),
            (4, vec![id(1), id(2), id(3)]),
            "damaged again is news again"
        );
    }

    #[test]
    fn pages_are_in_the_order_of_ids() {
        let damage = Damage::of((0..5).rev().map(id));
        assert_eq!(damage.page(None, 2), [id(0), id(1)]);
        assert_eq!(damage.page(Some(id(1)), 2), [id(2), id(3)]);
        assert_eq!(damage.page(Some(id(3)), 9), [id(4)]);
        assert_eq!(damage.page(Some(id(4)), 9), []);
    }
}
