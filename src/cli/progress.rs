//! What a long start is doing, said every few seconds. A short one says nothing.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// How long a start may take before people wonder.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tells people what a start is waiting for, until it is dropped.
#[derive(Debug)]
pub(super) struct Progress {
    step: watch::Sender<String>,
    speaker: JoinHandle<()>,
}

impl Progress {
    /// Begins with this step.
    pub(super) fn begin(step: &str) -> Self {
        let (step, heard) = watch::channel(step.to_owned());
        Self { step, speaker: tokio::spawn(speak(heard)) }
    }

    /// What is done next, as a phrase: "reading the logs of 8 nodes".
    pub(super) fn step(&self, step: impl Into<String>) {
        self.step.send_replace(step.into());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.speaker.abort();
    }
}

async fn speak(step: watch::Receiver<String>) {
    let began = Instant::now();
    loop {
        sleep(PATIENCE).await;
        tracing::info!("still starting after {} s: {}", began.elapsed().as_secs(), *step.borrow());
    }
}
