//! Which nodes are compared in one pass. What a node says that it holds decides
//! how much memory it takes and nothing else: it puts no other off.

use std::collections::HashMap;

use tokio::time::Instant;

use super::round::Subject;
use crate::types::limits::FILTER_BYTES_MAX;

/// Nodes that are compared in a pass that nobody has asked for.
pub(super) const NODES_AT_ONCE: usize = 32;
/// Pieces on all nodes of a pass, about: a filter takes ten bits for each.
const PIECES_AT_ONCE: u64 = 50_000_000;
/// Beyond so many pieces a filter does not grow.
const PIECES_MAX: u64 = FILTER_BYTES_MAX as u64 * 8 / 10;

/// When each node was compared last or was to be, by the process that walks.
#[derive(Debug, Default)]
pub(super) struct Turns(HashMap<u32, Instant>);

impl Turns {
    /// Chooses among those that are due, which wait longest first. Whoever had
    /// a turn and is due all the same comes after all that had none since.
    pub(super) fn choose(&mut self, mut due: Vec<Subject>, most: usize, now: Instant) -> Vec<Subject> {
        self.0.retain(|number, _| due.iter().any(|subject| subject.number == *number));
        due.sort_by_key(|subject| self.0.get(&subject.number).copied());
        let mut room = PIECES_AT_ONCE;
        due.retain(|subject| match room.checked_sub(subject.pieces.min(PIECES_MAX)) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        });
        due.truncate(most);
        self.0.extend(due.iter().map(|subject| (subject.number, now)));
        due
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::types::NodeId;

    fn due(pieces: &[(u32, u64)]) -> Vec<Subject> {
        let node = NodeId::from_bytes([0; 32]);
        pieces.iter().map(|&(number, pieces)| Subject { number, node, pieces }).collect()
    }

    fn chosen(turns: &mut Turns, now: Instant, pieces: &[(u32, u64)], most: usize) -> Vec<u32> {
        turns.choose(due(pieces), most, now).iter().map(|subject| subject.number).collect()
    }

    #[test]
    fn no_node_takes_the_others_room() {
        let (begun, nodes) = (Instant::now(), [(1, 1 << 60), (2, 3_000_000), (3, u64::MAX)]);
        assert_eq!(chosen(&mut Turns::default(), begun, &nodes, 9), [1, 2, 3], "each takes what a filter takes");
        let many: Vec<(u32, u64)> = (1..=9).map(|number| (number, 1 << 60)).chain([(10, 1000)]).collect();
        let found = chosen(&mut Turns::default(), begun, &many, 99);
        assert_eq!(found, [1, 2, 3, 4, 5, 6, 7, 10], "a small one fits still");
    }

    #[test]
    fn whoever_is_never_compared_to_the_end_waits_for_its_turn() {
        let (mut turns, nodes) = (Turns::default(), [(5, 1), (3, 1), (1, 1)]);
        let (begun, minute) = (Instant::now(), Duration::from_secs(60));
        assert_eq!(chosen(&mut turns, begun, &nodes, 2), [5, 3]);
        assert_eq!(chosen(&mut turns, begun + minute, &nodes, 2), [1, 5], "they are all due as before");
        assert_eq!(chosen(&mut turns, begun + 2 * minute, &nodes, 2), [3, 5]);
        assert_eq!(chosen(&mut turns, begun + 3 * minute, &[(5, 1), (1, 1)], 2), [1, 5]);
        assert_eq!(chosen(&mut turns, begun + 4 * minute, &nodes, 1), [3], "it was not due meanwhile");
    }
}
