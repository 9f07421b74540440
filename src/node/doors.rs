//! The doors that a node knows, and how it stands with each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Reasons that are remembered so that each is told once.
const TOLD_MAX: usize = 16;

/// A node's relation to one door.
#[derive(Debug, Clone)]
pub struct DoorStatus {
    /// The door as `host:port`.
    pub door: String,
    /// How it stands.
    pub state: DoorState,
    /// Since when it stands so.
    pub since: Instant,
    /// Extra connections that the door asked for and that are open.
    pub extra_connections: usize,
}

/// How a node stands with a door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DoorState {
    /// It is being dialled for the first time.
    Dialling,
    /// It has welcomed the node.
    Connected,
    /// It will be dialled again.
    Waiting {
        /// Why it is not connected, in a sentence.
        reason: String,
    },
}

/// The doors that a node dials.
pub(super) struct Doors {
    configured: Vec<String>,
    links: Mutex<BTreeMap<String, Link>>,
}

struct Link {
    state: DoorState,
    since: Instant,
    /// Reasons that were told since it was last connected.
    told: BTreeSet<String>,
    extra: usize,
    /// Configured, or in the list that the cluster sent last.
    wanted: bool,
}

impl Doors {
    pub(super) fn new(configured: Vec<String>) -> Self {
        Self { configured, links: Mutex::default() }
    }

    pub(super) fn status(&self) -> Vec<DoorStatus> {
        let status = |(door, link): (&String, &Link)| DoorStatus {
            door: door.clone(),
            state: link.state.clone(),
            since: link.since,
            extra_connections: link.extra,
        };
        self.links().iter().map(status).collect()
    }

    /// Marks which doors are wanted; returns those that were not known.
    pub(super) fn want(&self, learned: &[String]) -> Vec<String> {
        let mut links = self.links();
        links.iter_mut().for_each(|(door, link)| link.wanted = self.configured.contains(door));
        let mut fresh = Vec::new();
        for door in self.configured.iter().chain(learned) {
            links.entry(door.clone()).and_modify(|link| link.wanted = true).or_insert_with(|| {
                fresh.push(door.clone());
                Link {
                    state: DoorState::Dialling,
                    since: Instant::now(),
                    told: BTreeSet::new(),
                    extra: 0,
                    wanted: true,
                }
            });
        }
        fresh
    }

    /// Forgets a door that nobody wants any more. True if it was.
    pub(super) fn forget_unwanted(&self, door: &str) -> bool {
        let mut links = self.links();
        let unwanted = links.get(door).is_none_or(|link| !link.wanted);
        if unwanted {
            links.remove(door);
        }
        unwanted
    }

    /// Sets how the node stands with a door. True if its reason was not told
    /// yet since it was connected.
    pub(super) fn set(&self, door: &str, state: DoorState) -> bool {
        let mut links = self.links();
        let Some(link) = links.get_mut(door) else { return false };
        let news = match &state {
            DoorState::Waiting { reason } => link.told.len() < TOLD_MAX && link.told.insert(reason.clone()),
            DoorState::Connected => {
                link.told.clear();
                true
            }
            DoorState::Dialling => true,
        };
        // Another reason is no other state.
        if std::mem::discriminant(&link.state) != std::mem::discriminant(&state) {
            link.since = Instant::now();
        }
        link.state = state;
        news
    }

    /// Takes room for up to `count` extra connections; returns how many.
    pub(super) fn take_extra(&self, door: &str, count: usize, max: usize) -> usize {
        self.links().get_mut(door).map_or(0, |link| {
            let taken = count.min(max.saturating_sub(link.extra));
            link.extra += taken;
            taken
        })
    }

    pub(super) fn give_extra(&self, door: &str) {
        if let Some(link) = self.links().get_mut(door) {
            link.extra = link.extra.saturating_sub(1);
        }
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<String, Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_news_once_per_connection() {
        let doors = Doors::new(vec!["a:1".to_owned()]);
        doors.want(&[]);
        let wait = |reason: &str| doors.set("a:1", DoorState::Waiting { reason: reason.to_owned() });
        assert!(wait("closed"));
        let since = doors.status()[0].since;
        assert!(wait("refused") && !wait("closed") && !wait("refused"));
        assert_eq!(doors.status()[0].since, since, "it has been waiting all the time");
        doors.set("a:1", DoorState::Connected);
        assert!(wait("closed"));
        assert!(!doors.set("b:1", DoorState::Connected), "nobody knows that door");
    }

    #[test]
    fn learned_doors_come_and_go_and_configured_ones_stay() {
        let doors = Doors::new(vec!["a:1".to_owned()]);
        let [b, c] = ["b:1".to_owned(), "c:1".to_owned()];
        assert_eq!(doors.want(std::slice::from_ref(&b)), ["a:1", "b:1"]);
        assert_eq!(doors.want(std::slice::from_ref(&c)), ["c:1"]);
        assert!(doors.forget_unwanted(&b) && !doors.forget_unwanted(&c) && !doors.forget_unwanted("a:1"));
    }

    #[test]
    fn extra_connections_are_bounded() {
        let doors = Doors::new(vec!["a:1".to_owned()]);
        doors.want(&[]);
        assert_eq!(doors.take_extra("a:1", 5, 8), 5);
        assert_eq!(doors.take_extra("a:1", 5, 8), 3);
        doors.give_extra("a:1");
        assert_eq!(doors.take_extra("a:1", 64, 8), 1);
        assert_eq!(doors.take_extra("b:1", 1, 8), 0);
    }
}
