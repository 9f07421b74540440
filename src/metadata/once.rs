//! The full pass that an operator has asked for: one at a time in the whole
//! cluster, done by whichever process walks, and followed by any.

use super::epochs::Holder;
use super::tx::{MetadataError, Operation, Tx, params};

/// Its row among the tasks: `holder` is the run's own number, and it is under
/// way until the time has come.
const NAME: &str = "once";

/// A run, as it was told of last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedRun {
    /// Its number.
    pub run: Holder,
    /// How it stands.
    pub state: Vec<u8>,
    /// Whether it is under way. One of which nothing was heard for long is not.
    pub is_active: bool,
}

/// Asks for a run, unless one is under way: that one is answered then.
pub struct AskRun {
    /// A number that no run has had.
    pub run: Holder,
    /// How it stands at first.
    pub state: Vec<u8>,
    /// Milliseconds of the database's clock until it counts as given up, if
    /// nobody tells of it.
    pub for_ms: u64,
}

impl Operation for AskRun {
    type Output = AskedRun;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<AskedRun, MetadataError> {
        let now = tx.now().await?.0;
        let until = now.saturating_add_unsigned(self.for_ms);
        let sql = "INSERT INTO tasks (name, holder, expires_ms, state) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (name) \
                   DO UPDATE SET holder = ?2, expires_ms = ?3, state = ?4 WHERE tasks.expires_ms <= ?5";
        tx.execute(sql, params![NAME, &self.run.0, until, &self.state, now]).await?;
        let asked = read(tx).await?;
        asked.ok_or_else(|| MetadataError::Failed("a run that was asked for is not there".to_owned()))
    }
}

/// Tells how a run stands. Answers false, and changes nothing, if there is
/// another one by now.
pub struct TellRun {
    /// Which.
    pub run: Holder,
    /// How it stands.
    pub state: Vec<u8>,
    /// Milliseconds until it counts as given up; 0 when it has ended.
    pub for_ms: u64,
}

impl Operation for TellRun {
    type Output = bool;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, MetadataError> {
        let until = tx.now().await?.0.saturating_add_unsigned(self.for_ms);
        let sql = "UPDATE tasks SET state = ?3, expires_ms = ?4 WHERE name = ?1 AND holder = ?2";
        Ok(tx.execute(sql, params![NAME, &self.run.0, &self.state, until]).await? == 1)
    }
}

/// The last run, if there was one.
pub struct ReadRun;

impl Operation for ReadRun {
    type Output = Option<AskedRun>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<AskedRun>, MetadataError> {
        read(tx).await
    }
}

async fn read(tx: &mut Tx<'_>) -> Result<Option<AskedRun>, MetadataError> {
    let now = tx.now().await?.0;
    let row = tx.first("SELECT holder, state, expires_ms FROM tasks WHERE name = ?1", params![NAME]).await?;
    let asked = row.map(|row| {
        let state = row.optional(1)?.unwrap_or_default().to_vec();
        Ok(AskedRun { run: Holder(row.array(0)?), state, is_active: row.int(2)? > now })
    });
    asked.transpose()
}
