//! The join token that a cluster's parts share as a file: gateways and workers
//! accept it, nodes join with it.

use std::path::Path;

use super::{Failure, database, secret_file};
use crate::admin::{CreateToken, Operator, RevokeToken};
use crate::env::{Env, write_private_once};
use crate::metadata::{AcceptToken, Metadata};
use crate::types::{ClusterId, UnixMillis};
use crate::wire::JoinToken;

const WHAT: &str = "the file with the join token";

/// Makes the token in this file good, as often as one likes; false where there
/// is no such file yet.
///
/// # Errors
/// A file that holds no token, or another cluster's.
pub(super) async fn accept(path: &Path, metadata: &Metadata, cluster: ClusterId) -> Result<bool, Failure> {
    if matches!(path.try_exists(), Ok(false)) {
        return Ok(false);
    }
    let token = read(path)?;
    if token.cluster != cluster {
        return Err(Failure::start(format!(
            "the join token in {} is for another cluster than this one: both are made together by `cairn secrets create`",
            path.display()
        )));
    }
    let accept = AcceptToken {
        token: token.credential.id,
        secret_digest: token.credential.secret_digest(),
        expires: token.expires_ms.map(UnixMillis),
        uses: token.uses,
        labels: token.labels,
    };
    let Some(row) = metadata.write(accept).await.map_err(database::failed)? else {
        return Err(Failure::start(format!("the join token in {} has the name of another token", path.display())));
    };
    match row.revoked {
        Some(_) => tracing::warn!("the join token in {} was revoked: no node can join with it", path.display()),
        None => tracing::info!(token = %row.token, "nodes may join with the token in {}", path.display()),
    }
    Ok(true)
}

fn read(path: &Path) -> Result<JoinToken, Failure> {
    let text = secret_file::text(WHAT, path)?;
    let token = text.expose().parse();
    token.map_err(|error| Failure::start(format!("the join token in {} cannot be used: {error}", path.display())))
}

/// Makes a token of unlimited uses and puts it into this file, unless another
/// gateway has done so meanwhile.
///
/// # Errors
/// When the file cannot be written, or no door is known that it could name.
pub(super) async fn make(path: &Path, operator: &Operator, metadata: &Metadata, env: &Env) -> Result<(), Failure> {
    let create = CreateToken { good_for_ms: None, uses: None, labels: Default::default(), doors: Vec::new() };
    let made = operator.run(&create).await.map_err(|error| Failure::start(error.sentence))?;
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Failure::start(format!("{} is no name of a file", path.display())))?;
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = write_private_once(folder, name, made.token.as_bytes(), &env.entropy);
    if let Ok(true) = written {
        tracing::info!("nodes may join with the token that was made in {}", path.display());
        return Ok(());
    }
    // Nobody will ever know it.
    let _ = operator.run(&RevokeToken { id: made.view.id }).await;
    written.map_err(|error| Failure::io("the join token could not be written", path, &error))?;
    accept(path, metadata, operator.cluster()).await.map(drop)
}
