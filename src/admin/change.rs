//! Changing how a node stands, and what is refused because it would leave the
//! cluster with fewer failure domains than its data needs.

use http::Method;
use serde::{Deserialize, Serialize};

use super::nodes::{NodeView, ShownNode, Survey};
use super::operator::{Command, Operator};
use super::words::counted;
use super::{AdminError, ErrorKind};
use crate::metadata::{ChangeNode, ChangeRefusal, NodeChange, NodeRow, NodeState};
use crate::types::limits::SENTENCE_BYTES_MAX;
use crate::types::text::is_control_or_format;

/// A node that was seen within this time may be there still.
const SEEN_LATELY_MS: i64 = 10 * 60 * 1000;

/// Changes how a node stands. What it is already, it stays.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The node's id, or a beginning of it that no other node has.
    pub node: String,
    /// What shall become of it.
    pub to: Wish,
    /// Why: the volunteer is shown this.
    #[serde(default)]
    pub reason: Option<String>,
    /// Do it although the cluster would be worse off.
    #[serde(default)]
    pub force: bool,
}

/// What an operator may want a node to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// It gives pieces and is given none.
    Suspend,
    /// It takes pieces again.
    Resume,
    /// Its pieces are moved elsewhere; then it has left.
    Drain,
    /// It is given up, and its pieces count as lost.
    Forget,
}

impl Wish {
    fn change(self) -> NodeChange {
        match self {
            Self::Suspend => NodeChange::Suspend,
            Self::Resume => NodeChange::Resume,
            Self::Drain => NodeChange::Drain,
            Self::Forget => NodeChange::Forget,
        }
    }

    /// As the beginning of a sentence.
    fn doing(self) -> &'static str {
        match self {
            Self::Suspend => "suspending",
            Self::Resume => "resuming",
            Self::Drain => "draining",
            Self::Forget => "forgetting",
        }
    }
}

impl Command for Change {
    const METHOD: Method = Method::POST;
    const PATH: &'static str = "/v1/nodes/change";
    type Reply = ShownNode;

    async fn run(&self, operator: &Operator) -> Result<ShownNode, AdminError> {
        self.check_reason()?;
        let survey = Survey::take(operator).await?;
        let at = survey.find(&self.node)?;
        if !self.force && self.takes_away_from(&survey.rows[at]) {
            refuse_harm(operator, &survey, at, self.to)?;
        }
        let node = survey.rows[at].node;
        if self.to == Wish::Resume && operator.live().is_some_and(|live| live.wants_to_leave(node)) {
            return Err(AdminError::new(
                ErrorKind::Refused,
                format!("the volunteer of node {node} has asked to leave, so it would drain again at once"),
            ));
        }
        let change = ChangeNode { node, change: self.to.change(), reason: self.reason.clone() };
        let row = operator.metadata().write(change).await?.map_err(refusal)?;
        if let Some(live) = operator.live() {
            live.heed(operator.metadata(), &row).await?;
        }
        tracing::info!(%node, state = row.state.name(), "the operator changed how a node stands");
        Survey::take(operator).await?.show(operator, at).await
    }
}

impl Change {
    fn check_reason(&self) -> Result<(), AdminError> {
        match &self.reason {
            Some(reason) if reason.len() > SENTENCE_BYTES_MAX || reason.chars().any(is_control_or_format) => {
                Err(AdminError::invalid(format!(
                    "a reason has at most {SENTENCE_BYTES_MAX} bytes and no control characters"
                )))
            }
            _ => Ok(()),
        }
    }

    /// Whether the cluster can rely on less of the node afterwards.
    fn takes_away_from(&self, row: &NodeRow) -> bool {
        match self.to {
            Wish::Resume => false,
            Wish::Suspend => row.state == NodeState::Active,
            Wish::Drain => matches!(row.state, NodeState::Active | NodeState::Suspended),
            Wish::Forget => row.state.is_member(),
        }
    }
}

fn refusal(refusal: ChangeRefusal) -> AdminError {
    let kind = match refusal {
        ChangeRefusal::Unknown(_) => ErrorKind::NotFound,
        ChangeRefusal::State { .. } => ErrorKind::Refused,
    };
    AdminError::new(kind, refusal.to_string())
}

fn refuse_harm(operator: &Operator, survey: &Survey, at: usize, wish: Wish) -> Result<(), AdminError> {
    let (row, view) = (&survey.rows[at], &survey.views[at]);
    refuse_local(row, wish)?;
    if wish == Wish::Forget {
        refuse_present(view, survey.clock_ms)?;
    }
    let others = survey.rows.iter().zip(&survey.views).filter(|(other, _)| other.node != row.node);
    let left = survey.domains.writable(others, operator.live().is_some());
    // As many as a write waits for, which is also what repair restores.
    let needed = survey.scheme(operator).optimal().into();
    if left >= needed {
        return Ok(());
    }
    Err(AdminError::refused(format!(
        "{} node {} would leave {} that {} pieces now, and the cluster needs {needed}: let other nodes join first, or \
         say --force",
        wish.doing(),
        row.node,
        counted(left, "failure domain"),
        if left == 1 { "takes" } else { "take" },
    )))
}

/// A node in a folder of this data directory comes back with the next start.
fn refuse_local(row: &NodeRow, wish: Wish) -> Result<(), AdminError> {
    let Some(place) = &row.place else { return Ok(()) };
    let then = match wish {
        Wish::Drain => "which would start it again although it has left",
        Wish::Forget => "which takes it back when it finds its folder",
        Wish::Suspend | Wish::Resume => return Ok(()),
    };
    Err(AdminError::refused(format!(
        "node {} is in the folder nodes/{place} of the data directory and belongs to `cairn up`, {then}: say --force if \
         the folder is on another machine now",
        row.node,
    )))
}

/// A node that is there, or was a moment ago, is most likely not lost.
fn refuse_present(view: &NodeView, clock_ms: i64) -> Result<(), AdminError> {
    let seen = view.seen_ms.map(|seen_ms| clock_ms.saturating_sub(seen_ms)).filter(|ago_ms| *ago_ms < SEEN_LATELY_MS);
    let present = match seen {
        _ if view.connected => "is connected".to_owned(),
        Some(ago_ms) => format!("was seen {} ago", counted(ago_ms.max(0) as usize / 1000, "second")),
        None => return Ok(()),
    };
    Err(AdminError::refused(format!(
        "node {} {present}, and forgetting it would count its pieces as lost: drain it, so that they move elsewhere \
         first, or say --force",
        view.node,
    )))
}
