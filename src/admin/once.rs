//! The full pass that an operator asks for, and how it stands.

use http::Method;
use serde::{Deserialize, Serialize};

use super::operator::{Command, Operator};
use super::{AdminError, ErrorKind};
use crate::workers::{OnceView, ask_once, last_once};

/// Asks for a full pass, or joins the one that is under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunOnce {
    /// Whether every share of every piece is asked for.
    pub audit_all: bool,
}

/// The full pass that was asked for last.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowRun {}

impl Command for RunOnce {
    const METHOD: Method = Method::POST;
    const PATH: &'static str = "/v1/worker/run";
    type Reply = OnceView;

    async fn run(&self, operator: &Operator) -> Result<OnceView, AdminError> {
        if operator.live().is_none() {
            return Err(AdminError::new(ErrorKind::NotRunning, "no process runs here that could work"));
        }
        Ok(ask_once(operator.metadata(), &operator.parts.env, self.audit_all).await?)
    }
}

impl Command for ShowRun {
    const METHOD: Method = Method::GET;
    const PATH: &'static str = "/v1/worker/run/show";
    type Reply = OnceView;

    async fn run(&self, operator: &Operator) -> Result<OnceView, AdminError> {
        let none = || AdminError::new(ErrorKind::NotFound, "nobody has asked for a full pass yet");
        last_once(operator.metadata()).await?.ok_or_else(none)
    }
}
