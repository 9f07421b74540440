//! When bytes last moved on a connection, and how many ever did.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Bytes on the network (TLS included), summed over connections.
#[derive(Debug, Default)]
pub struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Traffic {
    /// Bytes that came in.
    pub fn received_bytes(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Bytes that went out.
    pub fn sent_bytes(&self) -> u64 {
        self.sent.load(Relaxed)
    }
}

/// One connection's pulse.
#[derive(Debug)]
pub struct Activity {
    start: Instant,
    last_ms: AtomicU64,
    traffic: Arc<Traffic>,
}

impl Activity {
    pub(super) fn new(traffic: Arc<Traffic>) -> Self {
        Self { start: Instant::now(), last_ms: AtomicU64::new(0), traffic }
    }

    /// Since bytes last moved, in either direction.
    pub fn idle(&self) -> Duration {
        self.start.elapsed().saturating_sub(Duration::from_millis(self.last_ms.load(Relaxed)))
    }

    /// Waits until no byte has moved for `limit`.
    pub async fn stalled(&self, limit: Duration) {
        while let Some(left) = limit.checked_sub(self.idle()).filter(|left| !left.is_zero()) {
            tokio::time::sleep(left).await;
        }
    }

    /// Counts from now: a request begins on a connection that was idle.
    pub(super) fn touch(&self) {
        self.last_ms.store(self.start.elapsed().as_millis() as u64, Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.traffic.received.fetch_add(bytes as u64, Relaxed);
        self.touch();
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.traffic.sent.fetch_add(bytes as u64, Relaxed);
        self.touch();
    }
}
