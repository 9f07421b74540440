//! Nodes that are about to connect: all of them after this process's start, and
//! one that has just joined at another gateway. A read waits for them for a
//! moment rather than fail.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::SegmentReader;

/// How long after this process's start, or after they joined, nodes may take to
/// connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(30);
/// How long a read waits for them, at most.
const WAIT: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(100);

impl SegmentReader {
    /// Where too few of the segment's nodes are connected, and enough of them
    /// are about to: waits for them. True if reading again has a chance.
    pub(super) async fn nodes_have_come(&self) -> bool {
        if self.connected() >= self.required() {
            return false;
        }
        let until = Instant::now() + WAIT;
        while self.connected() + self.expected() >= self.required() && Instant::now() < until {
            self.learn_of_new_nodes().await;
            if self.connected() >= self.required() {
                return true;
            }
            sleep(LOOK).await;
        }
        false
    }

    fn connected(&self) -> usize {
        self.row.pieces.iter().filter(|place| self.transfer.fleet.is_readable(place.node)).count()
    }

    /// How many of its nodes are not connected yet and may be in a moment.
    fn expected(&self) -> usize {
        let (fleet, now) = (&self.transfer.fleet, self.transfer.env.now());
        let begins = fleet.age() < CONNECT_WITHIN;
        let is_new = |node: u32| match fleet.row(node) {
            Some(row) => row.state.is_member() && now.0.abs_diff(row.joined.0) < CONNECT_WITHIN.as_millis() as u64,
            // Another gateway let it in a moment ago.
            None => true,
        };
        let away = self.row.pieces.iter().filter(|place| !fleet.is_connected(place.node));
        away.filter(|place| begins || is_new(place.node)).count()
    }

    async fn learn_of_new_nodes(&self) {
        let fleet = &self.transfer.fleet;
        if self.row.pieces.iter().any(|place| fleet.row(place.node).is_none())
            && let Err(error) = fleet.refresh(&self.transfer.metadata).await
        {
            tracing::debug!(%error, "the list of nodes could not be read");
        }
    }
}
