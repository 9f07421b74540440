//! What a node remembers besides its pieces: `node.json` in its folder.
//!
//! ```json
//! {"format":1, "starts":3, "generation":2, "doors":["door.example:9100"]}
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::types::Generation;

const FILE: &str = "node.json";
const FORMAT: u16 = 1;

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

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u16,
    starts: u64,
    generation: Generation,
    doors: Vec<String>,
}

/// The node's memory. Changes are durable when the call that makes them returns.
pub(super) struct NodeState {
    folder: PathBuf,
    stored: Stored,
}

impl NodeState {
    /// Reads the folder's memory, or begins one, and counts this start.
    pub(super) fn open(folder: &Path) -> Result<Self, StateError> {
        let stored = read(&folder.join(FILE))?;
        let mut state = Self { folder: folder.to_owned(), stored };
        state.stored.starts += 1;
        state.save()?;
        Ok(state)
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

    /// Remembers what a door said. In memory it holds even if the disk fails.
    pub(super) fn learn(&mut self, generation: Generation, doors: &[String]) -> Result<(), StateError> {
        let before = self.stored.clone();
        self.stored.generation = generation.max(before.generation);
        if !doors.is_empty() {
            self.stored.doors = doors.to_vec();
        }
        if self.stored == before { Ok(()) } else { self.save() }
    }

    fn save(&self) -> Result<(), StateError> {
        let path = self.folder.join(FILE);
        self.write(&path).map_err(|error| StateError::Io { path, error })
    }

    /// Under another name first, so that a crash leaves the old or the new.
    fn write(&self, path: &Path) -> io::Result<()> {
        let draft = self.folder.join("node.json.new");
        let mut file = File::create(&draft)?;
        file.write_all(&serde_json::to_vec(&self.stored)?)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        File::open(&self.folder)?.sync_all()
    }
}

fn read(path: &Path) -> Result<Stored, StateError> {
    let corrupt = |reason: String| StateError::Corrupt { path: path.to_owned(), reason };
    match fs::read(path) {
        Ok(json) => {
            let stored: Stored = serde_json::from_slice(&json).map_err(|error| corrupt(error.to_string()))?;
            match stored.format {
                FORMAT => Ok(stored),
                other => Err(corrupt(format!("its format {other} is of another version"))),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(Stored { format: FORMAT, starts: 0, generation: Generation(0), doors: Vec::new() })
        }
        Err(error) => Err(StateError::Io { path: path.to_owned(), error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_memory_that_cannot_be_understood_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "{}", r#"{"format":2,"starts":1,"generation":1,"doors":[]}"#] {
            fs::write(folder.path().join(FILE), text).unwrap();
            assert!(matches!(NodeState::open(folder.path()), Err(StateError::Corrupt { .. })));
            assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap(), text);
        }
    }

    #[test]
    fn what_was_learned_holds_even_if_the_folder_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = NodeState::open(folder.path()).unwrap();
        folder.close().unwrap();
        assert!(state.learn(Generation(9), &[]).is_err());
        assert_eq!(state.generation(), Generation(9));
    }
}
