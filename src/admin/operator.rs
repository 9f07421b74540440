//! The operator's commands, over the database and, where there is one, the
//! running process. Whether they come from a socket or from this very process
//! makes no difference here.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{AdminError, Live};
use crate::env::Env;
use crate::erasure::Scheme;
use crate::metadata::Metadata;
use crate::types::ClusterId;

/// Something that an operator can ask for: the request is the value itself.
pub trait Command: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// GET for what takes nothing and changes nothing, else POST.
    const METHOD: Method;
    /// Where it is asked for over HTTP.
    const PATH: &'static str;
    /// What it answers.
    type Reply: Serialize + DeserializeOwned + Send;

    /// Does it.
    fn run(&self, operator: &Operator) -> impl Future<Output = Result<Self::Reply, AdminError>> + Send;
}

/// What an [`Operator`] works with.
pub struct OperatorParts {
    /// The cluster's database.
    pub metadata: Metadata,
    /// Clock and randomness.
    pub env: Env,
    /// Whose database it is.
    pub cluster: ClusterId,
    /// Doors of this process as `host:port`, as volunteers reach them; none if
    /// they cannot.
    pub doors: Vec<String>,
    /// What only a process that serves knows; none where none runs.
    pub live: Option<Live>,
    /// Whether other processes may serve from this database.
    pub is_shared: bool,
}

/// Does what operators ask for. Cheap to clone.
#[derive(Clone)]
pub struct Operator {
    pub(super) parts: Arc<OperatorParts>,
    began: Duration,
    last_scheme: Option<Scheme>,
}

impl Operator {
    /// An operator's desk over these parts. Its uptime begins now.
    pub fn new(parts: OperatorParts) -> Self {
        let began = parts.env.uptime();
        Self { parts: Arc::new(parts), began, last_scheme: None }
    }

    /// Knows the redundancy scheme that the last process was told to use, if it
    /// was; otherwise it followed from the number of nodes.
    pub fn with_last_scheme(self, last_scheme: Option<Scheme>) -> Self {
        Self { last_scheme, ..self }
    }

    /// The redundancy scheme of new segments: the process's or, where none
    /// runs, the last one's, by failure domains that are to take pieces.
    pub(super) fn scheme(&self, registered_domains: impl FnOnce() -> usize) -> Scheme {
        let last = || self.last_scheme.unwrap_or_else(|| Scheme::default_for(registered_domains()));
        self.live().map_or_else(last, Live::scheme)
    }

    /// Does what the command asks for.
    pub async fn run<C: Command>(&self, command: &C) -> Result<C::Reply, AdminError> {
        command.run(self).await
    }

    /// Whose cluster it is.
    pub fn cluster(&self) -> ClusterId {
        self.parts.cluster
    }

    pub(super) fn metadata(&self) -> &Metadata {
        &self.parts.metadata
    }

    pub(super) fn live(&self) -> Option<&Live> {
        self.parts.live.as_ref()
    }

    /// Wall time in milliseconds since 1970.
    pub(super) fn now_ms(&self) -> i64 {
        self.parts.env.now().0
    }

    /// How long this process serves, in seconds; none where none does.
    pub(super) fn uptime_s(&self) -> Option<u64> {
        self.live().map(|_| self.parts.env.uptime().saturating_sub(self.began).as_secs())
    }
}
