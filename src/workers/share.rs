//! What the process that walks shows the others: its report, and which starts
//! of nodes it has compared, so that they do not wait for that any more.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::report::{HealthReport, HealthWatch};
use super::task::Task;
use crate::metadata::MetadataError;
use crate::types::InstanceId;

/// How often it is shown, while something changes.
const SHOW_EVERY: Duration = Duration::from_secs(5);
/// How often others look.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The state of the task. What a later version adds has a default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Shown {
    report: HealthReport,
    /// Nodes and starts, in hexadecimal digits, those compared last at the end.
    #[serde(default)]
    compared: Vec<(u32, String)>,
}

/// What was shown or seen last.
#[derive(Default)]
pub(super) struct Sharing {
    at: Option<Instant>,
    shown: Vec<u8>,
}

impl Sharing {
    /// Shows it, if it is time to, or `now`.
    pub(super) async fn show(&mut self, task: &mut Task, watch: &HealthWatch, now: bool) -> Result<(), MetadataError> {
        if !task.is_shared() || (!now && self.at.is_some_and(|at| at.elapsed() < SHOW_EVERY)) {
            return Ok(());
        }
        let compared = watch.compared().iter().map(|(node, instance)| (*node, instance.to_string())).collect();
        let shown = Shown { report: watch.latest(), compared };
        let shown = serde_json::to_vec(&shown).map_err(|error| MetadataError::Failed(error.to_string()))?;
        self.at = Some(Instant::now());
        if shown != self.shown {
            task.store(shown.clone()).await?;
            self.shown = shown;
        }
        Ok(())
    }

    /// Takes in what another process shows. Answers whether it has finished
    /// passes since.
    pub(super) async fn hear(&mut self, task: &Task, watch: &HealthWatch) -> Result<bool, MetadataError> {
        if self.at.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return Ok(false);
        }
        self.at = Some(Instant::now());
        let Some(shown) = task.state().await?.filter(|shown| *shown != self.shown) else { return Ok(false) };
        self.shown = shown;
        // A newer version may show something else; until this one is gone it shows what it knows.
        let Ok(Shown { report, compared }) = serde_json::from_slice(&self.shown) else { return Ok(false) };
        let known = |(node, instance): (u32, String)| Some((node, instance.parse::<InstanceId>().ok()?));
        watch.set_compared(compared.into_iter().filter_map(known).collect());
        let mut before = watch.report();
        let passed = before.passes != report.passes;
        *before = report;
        Ok(passed)
    }
}
