//! Where a database stands in a move: in use, being filled, or moved away.
//!
//! | `moving` | is | `generation` |
//! |---|---|---|
//! | 0 | in use | its own |
//! | 1 | being filled from another | that one's; 0 once the copy was given up |
//! | 2 | moved to `moved_to`, or being moved there | its own |
//!
//! In the last two, nobody but the copy can do anything with it: the table that
//! every request begins at has another name, and so has, on PostgreSQL, the one
//! that every commit leaves its receipt in. That stops gateways that run at one
//! moment, reads and writes, whatever they are doing.

use super::super::dialect::{Lock, Sequence};
use super::super::tx::{MetadataError, Operation, Row, Tx, params};
use super::pages::still_filled;
use crate::types::{ClusterId, Generation};

/// Where a database stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moving {
    InUse,
    Filled,
    Away,
}

/// What the cluster's row says of its database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub cluster: ClusterId,
    pub generation: Generation,
    pub key_version: u32,
    pub created_ms: i64,
    pub moving: Moving,
    /// Where the metadata is, or will be.
    pub moved_to: Option<String>,
}

impl Standing {
    fn from_row(row: &Row) -> Result<Self, MetadataError> {
        let moving = match row.int(4)? {
            0 => Moving::InUse,
            1 => Moving::Filled,
            2 => Moving::Away,
            other => return Err(MetadataError::Corrupt(format!("the state {other} of a move is unknown"))),
        };
        Ok(Self {
            cluster: ClusterId::from_bytes(row.array(0)?),
            generation: Generation(row.u64(1)?),
            key_version: row.u32(2)?,
            created_ms: row.int(3)?,
            moving,
            moved_to: row.maybe_text(5)?,
        })
    }

    /// Whether this database is what a move of the other one has ended in.
    pub fn follows(&self, source: &Self) -> bool {
        self.cluster == source.cluster && self.moving == Moving::InUse && self.generation > source.generation
    }

    /// Why a gateway cannot run on it, if it cannot.
    pub fn refusal(&self) -> Option<MetadataError> {
        let sentence = match self.moving {
            Moving::InUse => return None,
            Moving::Filled => {
                "this metadata database holds a copy that is not complete: let `cairn metadata copy` finish, \
                               or use the database that the copy is made of"
                    .to_owned()
            }
            Moving::Away => format!(
                "the metadata of this cluster was moved to {}, or is being moved there: use that database, or take a move \
                 that was not finished back with `cairn metadata cancel`",
                self.moved_to.as_deref().unwrap_or("another database")
            ),
        };
        Some(MetadataError::Unusable(sentence))
    }
}

const READ: &str =
    "SELECT cluster_id, generation, key_version, created_ms, moving, moved_to FROM cluster WHERE one = 1";

pub async fn read(tx: &mut Tx<'_>, lock: Lock) -> Result<Option<Standing>, MetadataError> {
    tx.first_locked(lock, READ, &[]).await?.as_ref().map(Standing::from_row).transpose()
}

/// Reads it; none in a database that nobody has used.
pub struct ReadStanding;

impl Operation for ReadStanding {
    type Output = Option<Standing>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Output, MetadataError> {
        read(tx, Lock::None).await
    }
}

/// Makes an empty database, or one that this cluster has left, the one that
/// is filled. A claim that was made already stands.
pub struct Claim {
    pub source: Standing,
    /// What people call the database.
    pub place: String,
}

impl Operation for Claim {
    type Output = ();
    const IS_REPEATABLE: bool = true;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        let Standing { cluster, generation, key_version, created_ms, .. } = &self.source;
        match read(tx, Lock::Change).await? {
            None => {
                let insert = "INSERT INTO cluster (one, cluster_id, generation, key_version, created_ms, moving) \
                              VALUES (1, ?1, ?2, ?3, ?4, 1) ON CONFLICT (one) DO NOTHING";
                tx.insert_new(insert, params![cluster.as_bytes(), generation.0, *key_version, *created_ms]).await?;
                lock_out(tx).await
            }
            Some(found) => {
                self.check(&found)?;
                let update = "UPDATE cluster SET generation = ?1, key_version = ?2, created_ms = ?3, moving = 1, \
                              moved_to = NULL WHERE one = 1";
                tx.execute(update, params![generation.0, *key_version, *created_ms]).await.map(drop)
            }
        }
    }
}

impl Claim {
    fn check(&self, found: &Standing) -> Result<(), MetadataError> {
        let (place, source) = (&self.place, &self.source);
        let sentence = match found.moving {
            _ if found.cluster != source.cluster => {
                format!("{place} belongs to another cluster ({}): choose an empty database", found.cluster)
            }
            Moving::Filled if found.generation == source.generation || found.generation.0 == 0 => return Ok(()),
            Moving::Away if found.generation < source.generation => return Ok(()),
            Moving::InUse => format!("{place} is in use by this cluster already: choose an empty database"),
            Moving::Filled => format!(
                "{place} holds a part of a copy that began at generation {}, and this one is of generation {}: choose an \
                 empty database",
                found.generation.0, source.generation.0
            ),
            Moving::Away => format!("{place} is not older than what would be copied to it: choose an empty database"),
        };
        Err(MetadataError::Unusable(sentence))
    }
}

/// Lets nobody use the source any more. Who was stopped already stays stopped.
pub struct Fence {
    pub generation: Generation,
    pub moved_to: String,
}

impl Operation for Fence {
    type Output = ();
    const IS_REPEATABLE: bool = true;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        let found = read(tx, Lock::Change).await?.filter(|found| found.generation == self.generation);
        match found {
            Some(Standing { moving: Moving::InUse, .. }) => {
                let update = "UPDATE cluster SET moving = 2, moved_to = ?1 WHERE one = 1";
                tx.execute(update, params![self.moved_to.as_str()]).await?;
                lock_out(tx).await
            }
            Some(Standing { moving: Moving::Away, moved_to: Some(to), .. }) if to == self.moved_to => Ok(()),
            _ => Err(changed()),
        }
    }
}

/// Lets the copy be used, as the next generation.
pub struct Finish {
    pub generation: Generation,
    /// How far the source's have been drawn.
    pub sequences: [(Sequence, u64); 2],
}

impl Operation for Finish {
    type Output = Generation;
    const IS_REPEATABLE: bool = true;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Generation, MetadataError> {
        let next = Generation(self.generation.0 + 1);
        let found = read(tx, Lock::Change).await?;
        if found.is_some_and(|found| found.moving == Moving::InUse && found.generation == next) {
            return Ok(next);
        }
        still_filled(tx, self.generation).await?;
        for (sequence, drawn) in self.sequences {
            tx.raise(sequence, drawn).await?;
        }
        // Of processes that ran on it before it was left.
        for sql in ["DELETE FROM leases", "DELETE FROM doors", "DELETE FROM tasks"] {
            tx.execute(sql, &[]).await?;
        }
        let update = "UPDATE cluster SET generation = ?1, moving = 0, moved_to = NULL WHERE one = 1";
        tx.execute(update, params![next.0]).await?;
        let_in(tx).await?;
        Ok(next)
    }
}

/// Takes care that a copy can never be finished. Refused when it was.
pub struct Abandon {
    pub source: Standing,
    pub place: String,
}

impl Operation for Abandon {
    type Output = ();
    const IS_REPEATABLE: bool = true;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        let Some(found) = read(tx, Lock::Change).await? else { return Ok(()) };
        if found.follows(&self.source) {
            return Err(MetadataError::Unusable(format!(
                "the move to {} is complete: to move back, copy from there",
                self.place
            )));
        }
        let ours = found.cluster == self.source.cluster && found.moving == Moving::Filled;
        if ours && found.generation == self.source.generation {
            tx.execute("UPDATE cluster SET generation = 0 WHERE one = 1", &[]).await?;
        }
        Ok(())
    }
}

/// Lets the source be used again.
pub struct GiveBack {
    pub generation: Generation,
    /// The generation that it is used under from now on.
    pub next: Generation,
}

impl Operation for GiveBack {
    type Output = ();
    const IS_REPEATABLE: bool = true;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        let found = read(tx, Lock::Change).await?.ok_or_else(changed)?;
        match found.moving {
            Moving::InUse if found.generation == self.next => Ok(()),
            Moving::Away if found.generation == self.generation => {
                let update = "UPDATE cluster SET generation = ?1, moving = 0, moved_to = NULL WHERE one = 1";
                tx.execute(update, params![self.next.0]).await?;
                let_in(tx).await
            }
            _ => Err(changed()),
        }
    }
}

/// How far the sequences have been drawn.
pub struct ReadSequences;

impl Operation for ReadSequences {
    type Output = [(Sequence, u64); 2];

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Output, MetadataError> {
        let (object, garbage) = (tx.drawn(Sequence::Object).await?, tx.drawn(Sequence::Garbage).await?);
        Ok([(Sequence::Object, object), (Sequence::Garbage, garbage)])
    }
}

async fn lock_out(tx: &mut Tx<'_>) -> Result<(), MetadataError> {
    // In the order in which operations take them.
    tx.execute("ALTER TABLE buckets RENAME TO buckets_moved", &[]).await?;
    if tx.is_concurrent() {
        tx.execute("ALTER TABLE commits RENAME TO commits_moved", &[]).await?;
    }
    Ok(())
}

async fn let_in(tx: &mut Tx<'_>) -> Result<(), MetadataError> {
    if tx.is_concurrent() {
        tx.execute("ALTER TABLE commits_moved RENAME TO commits", &[]).await?;
    }
    tx.execute("ALTER TABLE buckets_moved RENAME TO buckets", &[]).await.map(drop)
}

fn changed() -> MetadataError {
    MetadataError::Unusable(
        "the database was changed by another `cairn metadata` meanwhile: look at what that one said".into(),
    )
}
