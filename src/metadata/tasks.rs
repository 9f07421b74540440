//! Tasks that one process at a time does, each leased on the database's clock.
//!
//! Who holds a task renews it; who has died is replaced when the time is over.
//! A holder that was stalled may still believe that the task is its own:
//! whatever must not be done twice asks [`holds`] in its transaction.

use super::dialect::Lock;
use super::epochs::Holder;
use super::tx::{MetadataError, Operation, Tx, params};

/// Who holds something for so much longer than it is held did so before the
/// clock was set back: it is free.
pub(super) const LATER_MS: i64 = 2 * 3600 * 1000;

/// What one process at a time does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Walking all segments.
    Health,
    /// Having nodes delete what is dead.
    Delete,
}

impl Task {
    fn name(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Delete => "delete",
        }
    }
}

/// Takes a task that nobody holds, or renews one. Answers whether it is this
/// process's now.
#[derive(Debug, Clone, Copy)]
pub struct TakeTask {
    /// Which.
    pub task: Task,
    /// The process.
    pub holder: Holder,
    /// Milliseconds of the database's clock until others may take it.
    pub for_ms: u64,
}

impl Operation for TakeTask {
    type Output = bool;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, MetadataError> {
        let now = tx.now().await?.0;
        let until = now.saturating_add_unsigned(self.for_ms);
        let never = until.saturating_add(LATER_MS);
        let sql = "INSERT INTO tasks (name, holder, expires_ms) VALUES (?1, ?2, ?3) ON CONFLICT (name) DO UPDATE \
                   SET holder = ?2, expires_ms = ?3 \
                   WHERE tasks.holder = ?2 OR tasks.expires_ms <= ?4 OR tasks.expires_ms > ?5";
        Ok(tx.execute(sql, params![self.task.name(), &self.holder.0, until, now, never]).await? == 1)
    }
}

/// Gives a task back: others may take it at once. Its state stays.
pub struct ReleaseTask {
    /// Which.
    pub task: Task,
    /// The process.
    pub holder: Holder,
}

impl Operation for ReleaseTask {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        let sql = "UPDATE tasks SET expires_ms = 0 WHERE name = ?1 AND holder = ?2";
        tx.execute(sql, params![self.task.name(), &self.holder.0]).await.map(drop)
    }
}

/// Shows all processes how a task stands. Answers false, and changes nothing,
/// if it is another's by now.
pub struct StoreTask {
    /// Which.
    pub task: Task,
    /// The process that holds it.
    pub holder: Holder,
    /// How it stands.
    pub state: Vec<u8>,
}

impl Operation for StoreTask {
    type Output = bool;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, MetadataError> {
        let sql = "UPDATE tasks SET state = ?3 WHERE name = ?1 AND holder = ?2";
        Ok(tx.execute(sql, params![self.task.name(), &self.holder.0, &self.state]).await? == 1)
    }
}

/// How a task stands, as its holder said last.
pub struct ReadTask {
    /// Which.
    pub task: Task,
}

impl Operation for ReadTask {
    type Output = Option<Vec<u8>>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Vec<u8>>, MetadataError> {
        let row = tx.first("SELECT state FROM tasks WHERE name = ?1", params![self.task.name()]).await?;
        Ok(row.map(|row| row.optional(0).map(|state| state.map(<[u8]>::to_vec))).transpose()?.flatten())
    }
}

/// Whether a task is this process's, and stays so until the transaction's end.
/// Where there is one process, everything is.
pub(super) async fn holds(tx: &mut Tx<'_>, task: Task, holder: Holder) -> Result<bool, MetadataError> {
    if !tx.is_concurrent() {
        return Ok(true);
    }
    let sql = "SELECT 1 FROM tasks WHERE name = ?1 AND holder = ?2";
    Ok(tx.first_locked(Lock::Share, sql, params![task.name(), &holder.0]).await?.is_some())
}
