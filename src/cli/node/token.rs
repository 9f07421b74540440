//! The token that a node joins with: given, in a file, or in a file that is
//! still to come.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::admin::Stage;
use crate::cli::settings::Config;
use crate::cli::{Failure, secret_file};
use crate::node::Membership;
use crate::wire::JoinToken;

/// How often it is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often people are told that it is not there.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What a node was given to join with.
pub(super) enum Given {
    /// Nothing: the folder has to know its cluster.
    Nothing,
    Token(JoinToken),
    /// A file that is not there yet.
    Later(PathBuf),
}

/// Looks once.
pub(super) fn given(config: &Config) -> Result<Given, Failure> {
    match (&config.join, &config.join_file) {
        (Some(join), _) => parse(join.expose()).map(Given::Token),
        (None, None) => Ok(Given::Nothing),
        (None, Some(path)) => match in_file(path)? {
            Some(token) => Ok(Given::Token(token)),
            // A token is needed once; a secret that is mounted may be gone by then.
            None if has_joined(&config.data) => {
                tracing::info!("there is no join token in {}; this node has joined without it", path.display());
                Ok(Given::Nothing)
            }
            None => Ok(Given::Later(path.clone())),
        },
    }
}

/// Waits until somebody has put a token into the file.
pub(super) async fn wait_for(path: &Path, stage: &Stage) -> Result<JoinToken, Failure> {
    stage.waits_for(&format!("a join token in {}", path.display()));
    let (began, mut told) = (Instant::now(), None::<Instant>);
    loop {
        if let Some(token) = in_file(path)? {
            return Ok(token);
        }
        if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            tracing::info!("waiting for a join token in {} ({} s so far)", path.display(), began.elapsed().as_secs());
            told = Some(Instant::now());
        }
        sleep(LOOK_EVERY).await;
    }
}

/// The token in the file; none where it is not there or empty.
fn in_file(path: &Path) -> Result<Option<JoinToken>, Failure> {
    let found = std::fs::metadata(path);
    if found.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Ok(None);
    }
    let text = secret_file::text("the file with the join token", path)?;
    if text.expose().is_empty() { Ok(None) } else { parse(text.expose()).map(Some) }
}

fn parse(text: &str) -> Result<JoinToken, Failure> {
    text.parse().map_err(|error| Failure::start(format!("{error}")))
}

fn has_joined(dir: &Path) -> bool {
    Membership::load(dir).is_ok_and(|known| known.is_some_and(|membership| membership.has_joined()))
}
