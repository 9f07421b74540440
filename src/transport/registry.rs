//! Which nodes are connected, and by which of their instances.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::timeout;

use super::connection::{Connection, Ended, Expect, Failure, Reply};
use super::pool::{Lease, Pool};
use super::tuning::Tuning;
use super::{NodeError, NodeStatus};
use crate::types::limits::JSON_REPLY_BYTES_MAX;
use crate::types::{InstanceId, NodeId};
use crate::wire::{Hello, Purpose, Refusal, RefusalKind, Request, Usage};

/// A node that is connected: one instance of it.
pub(super) struct Member {
    pub(super) node: NodeId,
    pub(super) instance: InstanceId,
    pub(super) pool: Arc<Pool>,
    software: String,
    starts: u64,
    labels: BTreeMap<String, String>,
    since: Instant,
    peer: SocketAddr,
    usage: Mutex<Usage>,
    position: AtomicU64,
    duplicates: Mutex<Duplicates>,
}

/// Other instances with its identity that were refused.
#[derive(Clone, Copy, Default)]
struct Duplicates {
    count: u64,
    last: Option<Instant>,
}

/// All of them.
pub(super) struct Registry {
    members: RwLock<Members>,
    count: watch::Sender<usize>,
    numbers: AtomicU64,
    pub(super) tuning: Arc<Tuning>,
}

#[derive(Default)]
struct Members {
    nodes: HashMap<NodeId, Arc<Member>>,
    closed: bool,
}

impl Member {
    fn new(node: NodeId, hello: &Hello, peer: SocketAddr, tuning: Arc<Tuning>) -> Self {
        Self {
            node,
            instance: hello.instance,
            pool: Arc::new(Pool::new(tuning)),
            software: hello.software.clone(),
            starts: hello.starts,
            labels: hello.labels.clone(),
            since: Instant::now(),
            peer,
            usage: Mutex::new(hello.usage),
            position: AtomicU64::new(hello.position),
            duplicates: Mutex::default(),
        }
    }

    pub(super) fn status(&self) -> NodeStatus {
        let (connections, idle) = self.pool.counts();
        let duplicates = *self.duplicates.lock().unwrap_or_else(PoisonError::into_inner);
        NodeStatus {
            node: self.node,
            instance: self.instance,
            software: self.software.clone(),
            starts: self.starts,
            position: self.position.load(Relaxed),
            since: self.since,
            usage: *self.usage.lock().unwrap_or_else(PoisonError::into_inner),
            labels: self.labels.clone(),
            peer_addr: self.peer,
            connections,
            idle_connections: idle,
            refused_duplicates: duplicates.count,
            last_duplicate: duplicates.last,
        }
    }

    /// One request on whichever connection is free first.
    pub(super) async fn request(
        &self,
        request: &Request,
        body: Bytes,
        expect: Expect,
        tuning: &Tuning,
    ) -> Result<Reply, NodeError> {
        loop {
            let mut lease = self.pool.checkout().await?;
            let dial = lease.dial;
            let patience = tuning.progress_timeout;
            match lease.connection().request(request, body.clone(), expect, dial, patience).await {
                Ok(reply) => {
                    lease.give_back(false);
                    self.position.fetch_max(reply.position.unwrap_or(0), Relaxed);
                    return Ok(reply);
                }
                Err(Failure::Answered(error)) => {
                    lease.give_back(false);
                    return Err(error);
                }
                Err(Failure::Unsent) => lease.discard(),
                Err(Failure::Broken(error)) => {
                    lease.discard();
                    return Err(error);
                }
            }
        }
    }

    /// Asks for the node's usage on this very connection, as a sign of life.
    pub(super) async fn ping(&self, mut lease: Lease, tuning: &Tuning) -> bool {
        let expect = Expect::AtMost(JSON_REPLY_BYTES_MAX);
        let request = lease.connection().request(&Request::Usage, Bytes::new(), expect, 0, tuning.ping_timeout);
        let answer = timeout(tuning.ping_timeout, request).await;
        let usage = match answer {
            Ok(Ok(reply)) => Usage::decode(&reply.body).ok(),
            _ => None,
        };
        let Some(usage) = usage else {
            lease.discard();
            return false;
        };
        lease.give_back(true);
        self.set_usage(usage);
        true
    }

    pub(super) fn set_usage(&self, usage: Usage) {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner) = usage;
    }

    /// Whether this instance still answers.
    pub(super) async fn is_alive(&self, tuning: &Tuning) -> bool {
        let probe = async {
            match self.pool.checkout().await {
                Ok(lease) => self.ping(lease, tuning).await,
                Err(_) => false,
            }
        };
        match timeout(tuning.probe_timeout, probe).await {
            Ok(alive) => alive,
            // All connections were busy: then bytes must have moved.
            Err(_) => self.pool.counts().1 == 0 && self.pool.moved_within(tuning.probe_timeout / 2),
        }
    }

    pub(super) fn count_duplicate(&self) {
        let mut duplicates = self.duplicates.lock().unwrap_or_else(PoisonError::into_inner);
        *duplicates = Duplicates { count: duplicates.count + 1, last: Some(Instant::now()) };
    }
}

impl Registry {
    pub(super) fn new(tuning: Tuning) -> Self {
        Self {
            members: RwLock::default(),
            count: watch::Sender::new(0),
            numbers: AtomicU64::new(0),
            tuning: Arc::new(tuning),
        }
    }

    pub(super) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Relaxed)
    }

    pub(super) fn get(&self, node: NodeId) -> Option<Arc<Member>> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).nodes.get(&node).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Member>> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).nodes.values().cloned().collect()
    }

    /// The number of connected nodes, as it changes.
    pub(super) fn count(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    /// The member that a connection with this hello belongs to; made for a
    /// control connection. `dead` is an instance that was probed in vain.
    pub(super) fn join(
        &self,
        node: NodeId,
        hello: &Hello,
        peer: SocketAddr,
        dead: Option<InstanceId>,
    ) -> Result<Arc<Member>, Refusal> {
        let mut members = self.write();
        if members.closed {
            return Err(Refusal::new(RefusalKind::Busy, "this door is closing; dial again later"));
        }
        let present = members.nodes.get(&node).filter(|member| !member.pool.is_closed());
        match present {
            Some(member) if member.instance == hello.instance => return Ok(member.clone()),
            Some(member) if Some(member.instance) != dead => return Err(duplicate()),
            _ if hello.purpose == Purpose::Data => return Err(not_admitted()),
            _ => {}
        }
        let member = Arc::new(Member::new(node, hello, peer, self.tuning.clone()));
        if let Some(replaced) = members.nodes.insert(node, member.clone()) {
            replaced.pool.close();
        }
        self.count.send_replace(members.nodes.len());
        Ok(member)
    }

    /// Called once for every connection that was closed.
    pub(super) fn ended(self: &Arc<Self>, member: Arc<Member>, number: u64, how: Ended) {
        if !member.pool.remove(number) {
            return;
        }
        if how == Ended::Lost {
            return self.leave_if_empty(&member, Duration::ZERO);
        }
        let registry = self.clone();
        tokio::spawn(async move {
            let grace = registry.tuning.redial_grace;
            tokio::time::sleep(grace).await;
            registry.leave_if_empty(&member, grace);
        });
    }

    /// Forgets a member that has had no connection for this long.
    pub(super) fn leave_if_empty(&self, member: &Arc<Member>, time: Duration) {
        let mut members = self.write();
        if !member.pool.is_empty_for(time) {
            return;
        }
        member.pool.close();
        if members.nodes.get(&member.node).is_some_and(|present| Arc::ptr_eq(present, member)) {
            members.nodes.remove(&member.node);
            self.count.send_replace(members.nodes.len());
            tracing::debug!(node = %member.node, "the node is gone");
        }
    }

    /// Closes a node's connections. It may dial again.
    pub(super) fn expel(&self, node: NodeId) {
        let mut members = self.write();
        if let Some(member) = members.nodes.remove(&node) {
            member.pool.close();
        }
        self.count.send_replace(members.nodes.len());
    }

    /// Closes all connections and takes no more.
    pub(super) fn close(&self) {
        let mut members = self.write();
        members.closed = true;
        for (_, member) in members.nodes.drain() {
            member.pool.close();
        }
        self.count.send_replace(0);
    }

    /// Asks quiet connections for a sign of life, and closes extra ones.
    pub(super) fn look_after(self: &Arc<Self>) {
        self.all().iter().for_each(|member| self.probe(member, self.tuning.ping_after));
    }

    /// Asks those of a member's idle connections for a sign of life from which
    /// nothing was heard for so long.
    pub(super) fn probe(&self, member: &Arc<Member>, silent_for: Duration) {
        for lease in member.pool.quiet(silent_for) {
            let (member, tuning) = (member.clone(), self.tuning.clone());
            tokio::spawn(async move { member.ping(lease, &tuning).await });
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, Members> {
        self.members.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds a connection to its member, or lets it go if that is gone by now.
pub(super) fn park(registry: &Arc<Registry>, member: &Arc<Member>, connection: Connection) {
    if member.pool.add(connection).is_err() {
        registry.leave_if_empty(member, Duration::ZERO);
    }
}

pub(super) fn duplicate() -> Refusal {
    Refusal::new(
        RefusalKind::Duplicate,
        "another node with the same identity is connected and alive: stop one of them, and never copy a node's folder",
    )
}

pub(super) fn not_admitted() -> Refusal {
    Refusal::new(RefusalKind::NotAdmitted, "this instance is not admitted: dial a control connection first")
}
