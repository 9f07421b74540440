//! What a node remembers besides its pieces: `node.json` in its folder.
//!
//! ```json
//! {"format":2, "starts":3, "generation":2, "doors":["door.example:9100"],
//!  "leaving":false, "left":false, "standing":null, "usage":null}
//! ```
//!
//! Format 1 ended after `doors`; it is read, and written as format 2.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::env::write_private;
use crate::types::Generation;
use crate::wire::{Standing, StandingKind, Usage};

const FILE: &str = "node.json";
const FORMAT: u16 = 2;

/// Why the node's memory could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// The file is not this node's memory. Starting afresh would forget the
    /// highest generation, so a person has to decide.
    #[error("{path} cannot be understood: {reason}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl StateError {
    /// Whether there was no room on the disk.
    fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Io { error, .. } if matches!(error.kind(), StorageFull | QuotaExceeded))
    }
}

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    format: u16,
    pub(super) starts: u64,
    pub(super) generation: Generation,
    pub(super) doors: Vec<String>,
    /// The volunteer wants to leave.
    #[serde(default)]
    pub(super) leaving: bool,
    /// The cluster has said that the node has left.
    #[serde(default)]
    pub(super) left: bool,
    /// What the cluster said last, as far as it was worth a write.
    #[serde(default)]
    pub(super) standing: Option<Standing>,
    /// Where the bytes were when the node was stopped.
    #[serde(default)]
    pub(super) usage: Option<Usage>,
}

/// The node's memory. Changes are durable when the call that makes them returns
/// without an error.
pub(super) struct NodeState {
    folder: PathBuf,
    stored: Stored,
    /// Whether memory is ahead of the disk: the last write failed.
    ahead: bool,
}

impl NodeState {
    /// Reads the folder's memory, or begins one, and counts this start.
    ///
    /// A disk that is full keeps no node from giving its pieces: then the start
    /// is counted in memory, and on disk as soon as there is room. A node that
    /// starts twice without that counts one number twice, is taken for one that
    /// was set back, and is compared with what it should have: which costs a
    /// look at its inventory, and no piece.
    pub(super) fn open(folder: &Path) -> Result<Self, StateError> {
        let stored = Self::read(folder)?.unwrap_or_default();
        let mut state = Self { folder: folder.to_owned(), stored, ahead: false };
        state.stored.starts += 1;
        // It is wrong as soon as a piece comes.
        state.stored.usage = None;
        match state.save() {
            Err(error) if error.is_full() => {
                tracing::warn!(%error, "the disk is full: this start is counted on it once there is room");
            }
            saved => saved?,
        }
        Ok(state)
    }

    /// Writes what could not be written before, if anything. True if it was.
    pub(super) fn catch_up(&mut self) -> Result<bool, StateError> {
        let ahead = self.ahead;
        if ahead {
            self.save()?;
        }
        Ok(ahead)
    }

    /// What is remembered in a folder, without a change to it; none in a new one.
    pub(super) fn read(folder: &Path) -> Result<Option<Stored>, StateError> {
        read(&folder.join(FILE))
    }

    /// How often the node was started on this folder, this time included.
    pub(super) fn starts(&self) -> u64 {
        self.stored.starts
    }

    /// The highest generation that a door has proved.
    pub(super) fn generation(&self) -> Generation {
        self.stored.generation
    }

    /// The doors that the cluster named last.
    pub(super) fn doors(&self) -> &[String] {
        &self.stored.doors
    }

    /// Whether the volunteer wants to leave.
    pub(super) fn leaving(&self) -> bool {
        self.stored.leaving
    }

    /// Whether the cluster has said that the node has left.
    pub(super) fn left(&self) -> bool {
        self.stored.left
    }

    /// What the cluster said last.
    pub(super) fn standing(&self) -> Option<&Standing> {
        self.stored.standing.as_ref()
    }

    /// Remembers what a door said. In memory it holds even if the disk fails.
    pub(super) fn learn(&mut self, generation: Generation, doors: &[String]) -> Result<(), StateError> {
        self.change(|stored| {
            stored.generation = generation.max(stored.generation);
            if !doors.is_empty() {
                stored.doors = doors.to_vec();
            }
        })
    }

    /// Remembers that the volunteer wants to leave; else nothing has changed.
    pub(super) fn set_leaving(&mut self) -> Result<(), StateError> {
        let before = self.stored.clone();
        let noted = self.change(|stored| stored.leaving = true);
        // Whoever is told that it failed must not find that it happened.
        noted.inspect_err(|_| self.stored = before)
    }

    /// The node joins anew: that it has left is forgotten.
    pub(super) fn rejoin(&mut self) -> Result<(), StateError> {
        self.change(|stored| {
            if stored.left {
                (stored.left, stored.leaving, stored.standing) = (false, false, None);
            }
        })
    }

    /// Remembers that the node has left. True if that is news.
    pub(super) fn set_left(&mut self) -> Result<bool, StateError> {
        let news = !self.stored.left;
        self.change(|stored| stored.left = true)?;
        Ok(news)
    }

    /// Remembers what the cluster thinks of the node. Numbers that move all the
    /// time are on disk only after [`keep`](Self::keep).
    pub(super) fn set_standing(&mut self, standing: Standing) -> Result<(), StateError> {
        let words = |standing: &Standing| (standing.kind, standing.sentence.clone());
        let same = self.stored.standing.as_ref().map(words) == Some(words(&standing));
        let left = self.stored.left || standing.kind == StandingKind::Left;
        if same && left == self.stored.left {
            self.stored.standing = Some(standing);
            return Ok(());
        }
        self.change(|stored| (stored.standing, stored.left) = (Some(standing), left))
    }

    /// Remembers the moment in which the node stops.
    pub(super) fn keep(&mut self, usage: Usage) -> Result<(), StateError> {
        self.stored.usage = Some(usage);
        self.save()
    }

    fn change(&mut self, change: impl FnOnce(&mut Stored)) -> Result<(), StateError> {
        let before = self.stored.clone();
        change(&mut self.stored);
        if self.stored == before { Ok(()) } else { self.save() }
    }

    fn save(&mut self) -> Result<(), StateError> {
        let json = serde_json::to_vec(&self.stored).map_err(io::Error::from);
        let saved = json.and_then(|json| write_private(&self.folder, FILE, &json));
        self.ahead = saved.is_err();
        saved.map_err(|error| StateError::Io { path: self.folder.join(FILE), error })
    }
}

impl Default for Stored {
    fn default() -> Self {
        Self {
            format: FORMAT,
            starts: 0,
            generation: Generation(0),
            doors: Vec::new(),
            leaving: false,
            left: false,
            standing: None,
            usage: None,
        }
    }
}

fn read(path: &Path) -> Result<Option<Stored>, StateError> {
    let corrupt = |reason: String| StateError::Corrupt { path: path.to_owned(), reason };
    match fs::read(path) {
        Ok(json) => {
            let stored: Stored = serde_json::from_slice(&json).map_err(|error| corrupt(error.to_string()))?;
            match stored.format {
                1..=FORMAT => Ok(Some(Stored { format: FORMAT, ..stored })),
                other => Err(corrupt(format!("its format {other} is of another version"))),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StateError::Io { path: path.to_owned(), error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(kind: StandingKind, audits_passed: u64) -> Standing {
        let sentence = String::new();
        Standing {
            kind,
            sentence,
            joined_ms: 1,
            trust_permille: 2,
            audits_passed,
            audits_failed: 0,
            pieces_to_move: None,
        }
    }

    #[test]
    fn starts_are_counted_and_the_highest_generation_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = NodeState::open(folder.path()).unwrap();
        assert_eq!((state.starts(), state.generation()), (1, Generation(0)));
        state.learn(Generation(5), &["a:1".to_owned()]).unwrap();
        state.learn(Generation(4), &[]).unwrap();
        let state = NodeState::open(folder.path()).unwrap();
        assert_eq!((state.starts(), state.generation()), (2, Generation(5)));
        assert_eq!(state.doors(), ["a:1"]);
    }

    #[test]
    fn the_first_format_is_read_and_becomes_the_second() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        fs::write(&path, r#"{"format":1,"starts":7,"generation":3,"doors":["a:1"]}"#).unwrap();
        let state = NodeState::open(folder.path()).unwrap();
        assert_eq!(
            (state.starts(), state.generation(), state.leaving(), state.left()),
            (8, Generation(3), false, false)
        );
        assert!(fs::read_to_string(&path).unwrap().starts_with(r#"{"format":2,"starts":8,"#));
    }

    #[test]
    fn leaving_and_having_left_survive_a_restart_until_the_node_joins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let reopen = || NodeState::open(folder.path()).unwrap();
        reopen().set_leaving().unwrap();
        reopen().rejoin().unwrap();
        assert!(reopen().leaving() && !reopen().left());
        reopen().set_standing(standing(StandingKind::Left, 0)).unwrap();
        assert!(reopen().left() && reopen().leaving());
        assert!(!reopen().set_left().unwrap(), "that is no news");
        reopen().rejoin().unwrap();
        assert!(!reopen().left() && !reopen().leaving() && reopen().standing().is_none());
        assert!(reopen().set_left().unwrap());
    }

    #[test]
    fn a_standing_is_written_when_its_words_change_and_when_the_node_stops() {
        let folder = tempfile::tempdir().unwrap();
        let kept = || NodeState::read(folder.path()).unwrap().unwrap().standing.unwrap().audits_passed;
        let mut state = NodeState::open(folder.path()).unwrap();
        state.set_standing(standing(StandingKind::Active, 1)).unwrap();
        state.set_standing(standing(StandingKind::Active, 2)).unwrap();
        assert_eq!((kept(), state.standing().unwrap().audits_passed), (1, 2));
        state.keep(Usage { pieces: 9, ..Usage::default() }).unwrap();
        assert_eq!(kept(), 2);
        state.set_standing(standing(StandingKind::Suspended, 3)).unwrap();
        assert_eq!(kept(), 3);
        assert_eq!(NodeState::read(folder.path()).unwrap().unwrap().usage.unwrap().pieces, 9);
    }

    #[test]
    fn a_memory_that_cannot_be_understood_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "{}", r#"{"format":3,"starts":1,"generation":1,"doors":[]}"#] {
            fs::write(folder.path().join(FILE), text).unwrap();
            assert!(matches!(NodeState::open(folder.path()), Err(StateError::Corrupt { .. })));
            assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap(), text);
        }
    }

    #[test]
    fn what_was_learned_holds_without_the_disk_and_is_written_when_that_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = NodeState::open(folder.path()).unwrap();
        assert!(!state.catch_up().unwrap());
        fs::remove_dir_all(folder.path()).unwrap();
        assert!(state.learn(Generation(9), &[]).is_err() && state.catch_up().is_err());
        assert_eq!(state.generation(), Generation(9));
        fs::create_dir(folder.path()).unwrap();
        assert!(state.catch_up().unwrap() && !state.catch_up().unwrap());
        assert_eq!(NodeState::open(folder.path()).unwrap().generation(), Generation(9));
    }

    #[test]
    fn a_wish_to_leave_that_was_not_noted_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = NodeState::open(folder.path()).unwrap();
        fs::remove_dir_all(folder.path()).unwrap();
        assert!(state.set_leaving().is_err() && !state.leaving());
        fs::create_dir(folder.path()).unwrap();
        state.catch_up().unwrap();
        assert!(!NodeState::open(folder.path()).unwrap().leaving());
        state.set_leaving().unwrap();
        assert!(state.leaving());
    }

    #[test]
    fn only_a_full_disk_is_no_reason_not_to_start() {
        let error = |kind: io::ErrorKind| StateError::Io { path: PathBuf::new(), error: kind.into() };
        assert!(error(io::ErrorKind::StorageFull).is_full() && error(io::ErrorKind::QuotaExceeded).is_full());
        assert!(!error(io::ErrorKind::ReadOnlyFilesystem).is_full());
        let folder = tempfile::tempdir().unwrap();
        assert!(NodeState::open(&folder.path().join("none")).is_err());
    }
}
