//! What a gateway or a worker shows.

use std::time::Duration;

use async_trait::async_trait;

use super::Exposition;
use crate::admin::stage::Subject;
use crate::audit::Verdict;
use crate::gateway::Meter;
use crate::metadata::{FindCluster, Metadata, NodeState};
use crate::transfer::Transfer;
use crate::workers::HealthWatch;

/// How long the database may take to answer; a probe waits no longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// A process that serves a cluster.
pub struct ServingSubject {
    /// Its database.
    pub metadata: Metadata,
    /// Its way to the nodes.
    pub transfer: Transfer,
    /// What is known of the segments.
    pub health: HealthWatch,
    /// What it counts of S3's requests; none where it serves no S3.
    pub meter: Option<Meter>,
}

#[async_trait]
impl Subject for ServingSubject {
    async fn ready(&self) -> Result<String, String> {
        match tokio::time::timeout(ANSWER_WITHIN, self.metadata.read(FindCluster)).await {
            Ok(Ok(_)) if self.meter.is_some() => Ok("S3 is served, and the database answers".to_owned()),
            Ok(Ok(_)) => Ok("the database answers".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("the metadata database did not answer within {} s", ANSWER_WITHIN.as_secs())),
        }
    }

    fn measure(&self, page: &mut Exposition) {
        if let Some(meter) = &self.meter {
            requests(meter, page);
        }
        self.nodes(page);
        self.segments(page);
        self.memory(page);
        page.gauge("cairn_database_has_room", "Whether the database's disk has room for new objects")
            .sample(&[], u8::from(self.metadata.has_room()));
    }
}

fn requests(meter: &Meter, page: &mut Exposition) {
    let counted = meter.read();
    let mut requests = page.counter("cairn_s3_requests_total", "S3 requests that were answered");
    for (operation, status, count) in &counted.requests {
        requests.sample(&[("operation", operation), ("status", status)], count);
    }
    page.counter("cairn_s3_received_bytes_total", "Bytes of the bodies of S3 requests")
        .sample(&[], counted.received_bytes);
    page.counter("cairn_s3_sent_bytes_total", "Bytes of the bodies of S3 answers").sample(&[], counted.sent_bytes);
    page.histogram(
        "cairn_s3_request_duration_seconds",
        "From the head of an S3 request to the end of its answer",
        &Meter::BOUNDS_S,
        &counted.durations,
        counted.seconds,
    );
}

impl ServingSubject {
    fn nodes(&self, page: &mut Exposition) {
        let fleet = self.transfer.fleet();
        let members = fleet.registered();
        let count = |state: NodeState| members.iter().filter(|row| row.state == state).count();
        page.gauge("cairn_nodes", "Nodes that are members, by their state")
            .sample(&[("state", "active")], count(NodeState::Active))
            .sample(&[("state", "suspended")], count(NodeState::Suspended))
            .sample(&[("state", "draining")], count(NodeState::Draining));
        let verdict = |verdict: Verdict| members.iter().filter(|row| row.verdict == verdict).count();
        page.gauge("cairn_nodes_by_verdict", "Members, by what audits have concluded of them")
            .sample(&[("verdict", "good")], verdict(Verdict::Good))
            .sample(&[("verdict", "suspended")], verdict(Verdict::Suspended))
            .sample(&[("verdict", "disqualified")], verdict(Verdict::Disqualified));
        page.counter(
            "cairn_wrong_shares_total",
            "Shares that were not what members had been given, by reads and audits",
        )
        .sample(&[], members.iter().map(|row| row.wrong_shares).sum::<u64>());
        let connected = fleet.nodes().connected();
        let sum = |bytes: fn(&crate::wire::Usage) -> u64| connected.iter().map(|node| bytes(&node.usage)).sum::<u64>();
        page.gauge("cairn_nodes_connected", "Nodes that are connected to this process").sample(&[], connected.len());
        page.gauge("cairn_nodes_capacity_bytes", "Bytes that the connected nodes may use")
            .sample(&[], sum(|usage| usage.capacity_bytes));
        page.gauge("cairn_nodes_writable_bytes", "Bytes of pieces that the connected nodes would still take")
            .sample(&[], sum(|usage| usage.writable_bytes));
        page.gauge("cairn_writes_possible", "Whether enough nodes are there for objects to be written")
            .sample(&[], u8::from(self.transfer.readiness().missing.is_none()));
    }

    fn segments(&self, page: &mut Exposition) {
        let report = self.health.latest();
        if report.passes > 0 {
            page.gauge("cairn_segments", "Segments by health, as of the last pass over all of them")
                .sample(&[("health", "healthy")], report.healthy)
                .sample(&[("health", "degraded")], report.degraded)
                .sample(&[("health", "unreadable")], report.unreadable)
                .sample(&[("health", "lost")], report.lost);
            page.gauge("cairn_segments_lost_with_one_more_domain", "Segments that one more failure domain would take")
                .sample(&[], report.if_one_more_domain_dies.segments_lost);
        }
        page.gauge("cairn_repair_queue_segments", "Segments that wait for repair or are being repaired")
            .sample(&[], report.queue);
        page.counter("cairn_pieces_repaired_total", "Pieces made anew since the cluster began")
            .sample(&[], report.pieces_repaired);
        page.counter("cairn_pieces_moved_total", "Pieces moved away from draining nodes since the cluster began")
            .sample(&[], report.pieces_moved);
        page.counter("cairn_repairs_failed_total", "Repairs that failed since the cluster began")
            .sample(&[], report.repairs_failed);
        page.counter("cairn_segments_merged_total", "Segments that went into others, since the walker began")
            .sample(&[], report.segments_merged);
        page.counter("cairn_condemned_bytes_total", "Bytes of pieces that no list names, since the walker began")
            .sample(&[], report.bytes_condemned);
        page.counter("cairn_pieces_restored_total", "Pieces taken out of a node's trash again, since the walker began")
            .sample(&[], report.pieces_restored);
    }

    fn memory(&self, page: &mut Exposition) {
        let budget = self.transfer.budget();
        let purses = [("fill", &budget.fill), ("pieces", &budget.pieces), ("read", &budget.read)];
        let mut total = page.gauge("cairn_memory_budget_bytes", "Memory for the data of transfers, by what it is for");
        for (name, purse) in purses {
            total.sample(&[("purse", name)], purse.total_bytes());
        }
        let mut used = page.gauge("cairn_memory_used_bytes", "How much of it is in use");
        for (name, purse) in purses {
            used.sample(&[("purse", name)], purse.used_bytes());
        }
    }
}
