//! What the disk under a store has room for, as of a moment ago: cheap to ask
//! at every ping, and never far from what the next put will find.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::disk::Disk;
use super::usage::disk_reserve;

/// How old what is known of the disk may be.
const SEEN_FOR: Duration = Duration::from_secs(1);
/// How long puts are refused unseen after the disk had no room.
const NO_ROOM_PAUSE: Duration = Duration::from_secs(1);

/// Bytes of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    /// Bytes that the file system would still take.
    pub free: u64,
    /// Those of them that puts may take.
    pub for_puts: u64,
}

impl Space {
    /// As the file system says now. One that does not say is not in the way:
    /// the write itself will tell.
    pub(super) fn of(disk: &dyn Disk, dir: &Path) -> Space {
        match disk.space(dir) {
            Ok((free, total)) => Space { free, for_puts: free.saturating_sub(disk_reserve(total)) },
            Err(_) => Space { free: u64::MAX, for_puts: u64::MAX },
        }
    }
}

/// What is known of the disk's room.
#[derive(Default)]
pub(super) struct Room {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seen: Option<(Instant, Space)>,
    none_until: Option<Instant>,
}

impl Room {
    /// The disk had no room for a put: others are refused unseen for a while.
    pub(super) fn is_used_up(&self) {
        self.state().none_until = Some(Instant::now() + NO_ROOM_PAUSE);
    }

    /// Whether that was a moment ago.
    pub(super) fn was_used_up(&self) -> bool {
        self.state().none_until.is_some_and(|until| Instant::now() < until)
    }

    /// The disk as of a moment ago.
    pub(super) fn recent(&self, disk: &dyn Disk, dir: &Path) -> Space {
        let mut state = self.state();
        let now = Instant::now();
        let fresh = state.seen.filter(|(at, _)| now.duration_since(*at) < SEEN_FOR);
        let (_, space) = fresh.unwrap_or_else(|| (now, Space::of(disk, dir)));
        if fresh.is_none() {
            state.seen = Some((now, space));
        }
        let used_up = state.none_until.is_some_and(|until| now < until);
        if used_up { Space { for_puts: 0, ..space } } else { space }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every step is one assignment: a panic elsewhere leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
