//! The operator's door: join tokens, nodes and the cluster's state, as JSON
//! over HTTP/1.1.
//!
//! A process that serves listens on `DIR/admin.sock`, which only its own user
//! can open, and if it was told to on a TCP address, where every request needs
//! the bearer token that stands in `DIR/admin.token`. There is no TLS on that
//! address: it is meant for loopback or an internal network. `GET /health`
//! alone needs no token; it tells that the process serves and nothing else.
//!
//! Every command is a value ([`Command`]): the client sends it, and
//! [`Operator`] does it. Where no process runs, whoever holds the directory's
//! lock runs the same operator over the database.
//!
//! `stage` and `observe` tell orchestrators and Prometheus how the process does.
//!
//! Knows nodes, tokens and counts; no bucket, no key, no content.

mod audits;
mod capacity;
mod change;
mod client;
mod error;
mod live;
mod nodes;
mod observe;
mod once;
mod operator;
mod prefix;
mod routes;
mod server;
mod stage;
mod status;
#[cfg(test)]
mod tests;
mod tokens;
mod words;

/// The name of the socket in the data directory.
const SOCKET: &str = "admin.sock";

pub use audits::{AuditTotals, AuditsView, FailureView};
pub use change::{Change, Wish};
pub use client::Client;
pub use error::{AdminError, ErrorKind};
pub use live::Live;
pub use nodes::{
    ConnectionView, List as ListNodes, NodeList, NodeView, RecordView, Show as ShowNode, ShownNode, SpaceView,
};
pub use observe::{Exposition, NodeSubject, ServingSubject, observe};
pub use once::{RunOnce, ShowRun};
pub use operator::{Command, Operator, OperatorParts};
pub use server::{serve_tcp, serve_unix};
pub use stage::{Health, Probe, Stage, Subject};
pub use status::{NodeCounts, PutsView, SchemeView, SpaceTotals, Status, StatusView};
pub use tokens::{
    Create as CreateToken, List as ListTokens, NewToken, Revoke as RevokeToken, TokenList, TokenState, TokenView,
};
