//! Which nodes count as there, by this process's own observed time.
//!
//! A node counts as away once it was not seen for `offline_after` of time in
//! which this process was watching and most nodes were there. So neither a
//! clock that jumps, nor a process that was stopped, nor an outage of our own
//! network makes nodes count as away.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// The most that one look at the nodes adds to the observed time.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// When each node was seen last, in observed time.
#[derive(Debug)]
pub(super) struct Presence {
    offline_after: Duration,
    observed: Duration,
    looked: Option<Duration>,
    seen: HashMap<u32, Duration>,
}

impl Presence {
    /// Nodes count as away when they were not seen for so long.
    pub(super) fn new(offline_after: Duration) -> Self {
        Self { offline_after, observed: Duration::ZERO, looked: None, seen: HashMap::new() }
    }

    /// A look at all members, each with whether it is connected. A node that
    /// is looked at for the first time counts as just seen. Answers whether any
    /// of them counts as away since this look.
    pub(super) fn look(&mut self, uptime: Duration, members: &[(u32, bool)]) -> bool {
        let present: Vec<u32> = members.iter().map(|(node, _)| *node).filter(|node| self.is_present(*node)).collect();
        let passed = self.looked.map_or(Duration::ZERO, |looked| uptime.saturating_sub(looked)).min(LOOK_MAX);
        self.looked = Some(uptime);
        let expected = members.iter().filter(|(node, _)| self.is_present(*node));
        let (there, all) = expected.fold((0, 0), |(there, all), (_, up)| (there + usize::from(*up), all + 1));
        if 2 * there >= all {
            self.observed += passed;
        }
        for (node, up) in members {
            let seen = self.seen.entry(*node).or_insert(self.observed);
            if *up {
                *seen = self.observed;
            }
        }
        let members: HashSet<u32> = members.iter().map(|(node, _)| *node).collect();
        self.seen.retain(|node, _| members.contains(node));
        present.into_iter().any(|node| !self.is_present(node))
    }

    /// Whether a node counts as there.
    pub(super) fn is_present(&self, node: u32) -> bool {
        self.seen.get(&node).is_none_or(|seen| self.observed - *seen < self.offline_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    /// Looks every two seconds for so many seconds.
    fn watch(presence: &mut Presence, uptime: &mut u64, seconds: u64, members: &[(u32, bool)]) {
        for _ in 0..seconds / 2 {
            *uptime += 2;
            presence.look(Duration::from_secs(*uptime), members);
        }
    }

    #[test]
    fn a_look_says_when_a_node_begins_to_count_as_away_and_only_then() {
        let mut presence = presence();
        let members = |up| [(1, true), (2, true), (3, up)];
        let mut said = Vec::new();
        for uptime in (0..5 * HOUR).step_by(2) {
            if presence.look(Duration::from_secs(uptime), &members(uptime == 0)) {
                said.push(uptime);
            }
        }
        assert_eq!(said, [4 * HOUR]);
    }

    fn presence() -> Presence {
        Presence::new(Duration::from_secs(4 * HOUR))
    }

    #[test]
    fn a_node_is_away_after_four_hours_and_back_at_once() {
        let (mut presence, mut uptime) = (presence(), 0);
        watch(&mut presence, &mut uptime, 4 * HOUR - 60, &[(1, true), (2, true), (3, false)]);
        assert!(presence.is_present(3), "every node counts as just seen at the start");
        watch(&mut presence, &mut uptime, 120, &[(1, true), (2, true), (3, false)]);
        assert!(presence.is_present(1) && !presence.is_present(3));
        watch(&mut presence, &mut uptime, 2, &[(1, true), (2, true), (3, true)]);
        assert!(presence.is_present(3));
    }

    #[test]
    fn an_outage_of_ours_is_nobodys_absence() {
        let (mut presence, mut uptime) = (presence(), 0);
        let (up, down) = ([(1, true), (2, true), (3, true)], [(1, true), (2, false), (3, false)]);
        watch(&mut presence, &mut uptime, 60, &up);
        watch(&mut presence, &mut uptime, 10 * HOUR, &down);
        assert!(presence.is_present(2) && presence.is_present(3), "most nodes are gone: it is our network");
        uptime += 24 * HOUR;
        watch(&mut presence, &mut uptime, 60, &[(1, true), (2, true), (3, false)]);
        assert!(presence.is_present(3), "the process was stopped, or the clock jumped");
        watch(&mut presence, &mut uptime, 4 * HOUR, &[(1, true), (2, true), (3, false)]);
        assert!(!presence.is_present(3));
        // Those that are away already do not count as most.
        watch(&mut presence, &mut uptime, 5 * HOUR, &[(1, true), (2, false), (3, false)]);
        assert!(!presence.is_present(2) && presence.is_present(1));
    }
}
