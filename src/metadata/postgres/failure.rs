//! What the server's failures mean, and what is done about each.

use deadpool::managed::PoolError;
use tokio_postgres::Error;
use tokio_postgres::error::{Severity, SqlState};

use super::super::tx::MetadataError;

/// What becomes of an operation that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// It has failed.
    None,
    /// It is run again: another transaction was in its way.
    Rerun,
    /// The same, but somebody may have used an id twice: only a few times.
    RerunFewTimes,
    /// It is run again on another connection.
    Reconnect,
}

/// What gateways say that still run on a database that has been fenced.
const MOVED: &str = "its contents have been moved to another database, or are being moved: stop this gateway, and start \
                     it on that one";

/// A failure and its remedy.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub error: MetadataError,
    pub remedy: Remedy,
}

impl Failure {
    pub fn new(error: MetadataError, remedy: Remedy) -> Self {
        Self { error, remedy }
    }

    pub fn unavailable(reason: impl Into<String>, remedy: Remedy) -> Self {
        Self::new(MetadataError::Unavailable(reason.into()), remedy)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let Some(refusal) = error.as_db_error() else {
            return Self::unavailable(story(&error), remedy_on_the_line(&error));
        };
        let reason = story(&error);
        let code = refusal.code();
        if *code == SqlState::DISK_FULL {
            return Self::new(MetadataError::Full, Remedy::None);
        }
        if [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::LOCK_NOT_AVAILABLE]
            .contains(code)
        {
            return Self::unavailable(reason, Remedy::Rerun);
        }
        match &code.code()[..2] {
            _ if *code == SqlState::UNIQUE_VIOLATION => Self::new(MetadataError::Failed(reason), Remedy::RerunFewTimes),
            _ if *code == SqlState::READ_ONLY_SQL_TRANSACTION => {
                Self::unavailable("the server is read-only", Remedy::Reconnect)
            }
            // Whoever moved it has taken their names from the tables.
            _ if *code == SqlState::UNDEFINED_TABLE => Self::unavailable(MOVED, Remedy::None),
            // Cut off by the statement's timeout.
            _ if *code == SqlState::QUERY_CANCELED => Self::unavailable(reason, Remedy::Rerun),
            // Shut down, crashed, starting; too many connections; no line.
            "57" | "53" | "08" => Self::unavailable(reason, Remedy::Reconnect),
            "28" | "3D" => Self::unavailable(reason, Remedy::None),
            _ if *code == SqlState::INSUFFICIENT_PRIVILEGE => Self::unavailable(reason, Remedy::None),
            "XX" => Self::new(MetadataError::Corrupt(reason), Remedy::None),
            _ => Self::new(MetadataError::Failed(reason), Remedy::None),
        }
    }
}

impl From<PoolError<Failure>> for Failure {
    fn from(error: PoolError<Failure>) -> Self {
        match error {
            PoolError::Backend(failure) => failure,
            PoolError::Timeout(_) => Self::unavailable("no connection to it became free in time", Remedy::Reconnect),
            _ => Self::unavailable("it is shutting down", Remedy::None),
        }
    }
}

/// What cannot be read never gets better by asking again.
fn remedy_on_the_line(error: &Error) -> Remedy {
    match error.to_string().starts_with("error serializing") {
        true => Remedy::None,
        false => Remedy::Reconnect,
    }
}

/// The server's sentence, or the driver's with what caused it. Neither quotes
/// a password; the server may name the user and the database.
fn story(error: &Error) -> String {
    if let Some(refusal) = error.as_db_error() {
        return format!("{} ({})", refusal.message(), refusal.code().code());
    }
    let mut story = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if !story.contains(&text) {
            story += &format!(": {text}");
        }
        cause = error.source();
    }
    story
}

/// Whether the answer to COMMIT says for certain that nothing was stored. A
/// server that goes away may have stored it before it said so.
pub(super) fn refuses_commit(error: &Error) -> bool {
    error.as_db_error().is_some_and(|refusal| {
        let code = refusal.code();
        refusal.parsed_severity() == Some(Severity::Error)
            && *code != SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN
            && *code != SqlState::TRANSACTION_RESOLUTION_UNKNOWN
            && !["57", "08"].contains(&&code.code()[..2])
    })
}

/// What it means at the start of the program that a connection was refused:
/// one sentence about what the operator can change.
pub(super) fn at_open(error: &Error, place: &dyn std::fmt::Display) -> Option<MetadataError> {
    // The driver has words for it, and no code.
    if story(error).contains("does not allow writes") {
        return Some(read_only(place));
    }
    let refusal = error.as_db_error()?;
    let code = refusal.code();
    let said = refusal.message();
    let sentence = match &code.code()[..2] {
        "28" => format!("the PostgreSQL at {place} refuses this user or password: {said}"),
        "3D" => format!("the PostgreSQL at {place} has no such database: {said}; make it with CREATE DATABASE"),
        _ if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            format!(
                "the PostgreSQL at {place} does not permit what is needed: {said}; grant the user all rights on this database and its schema"
            )
        }
        _ if *code == SqlState::READ_ONLY_SQL_TRANSACTION => return Some(read_only(place)),
        _ => return None,
    };
    Some(MetadataError::Unusable(sentence))
}

/// What is said at the start of a server that could not be reached. One that
/// is not there yet may be so later; what speaks another TLS will not.
pub(super) fn not_yet(failure: Failure, place: &dyn std::fmt::Display) -> MetadataError {
    let what = format!("cannot open the PostgreSQL at {place}");
    match failure {
        Failure { error: MetadataError::Unavailable(reason), remedy: Remedy::Reconnect | Remedy::Rerun }
            if !reason.contains("TLS") =>
        {
            MetadataError::Unavailable(format!("{what}: {reason}"))
        }
        Failure { error: MetadataError::Unavailable(reason), .. } => {
            MetadataError::Unusable(format!("{what}: {reason}"))
        }
        Failure { error, .. } => MetadataError::Unusable(format!("{what}: {error}")),
    }
}

/// What is said at the start of a server that takes no writes.
pub(super) fn read_only(place: &dyn std::fmt::Display) -> MetadataError {
    MetadataError::Unusable(format!(
        "the PostgreSQL at {place} is read-only (a replica?): name the primary, or all hosts, of which the one that takes \
         writes is used"
    ))
}
