//! How the operator's commands reach a cluster: through the socket of the
//! process that serves the data directory, at an admin address, or by opening
//! the database themselves: that of a data directory that no process serves, or
//! a PostgreSQL.

mod open;

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

pub(super) use open::open_doors;
use tokio::runtime::Runtime;

use super::data_dir::ADMIN_TOKEN;
use super::failure::reason;
use super::settings::{Config, Environment, Flags, OperatorCommand};
use super::{DataDir, Failure, database, process, say, secret_file, slot};
use crate::admin::{AdminError, Client, Command, ErrorKind, Operator, OperatorParts};
use crate::env::Env;
use crate::erasure::Scheme;
use crate::metadata::{FindCluster, Metadata, OpenCluster, PostgresAddress, SqliteOptions};
use crate::types::ClusterId;

/// Bytes of a token that is made here, before they are written in hexadecimal.
const TOKEN_BYTES: usize = 32;

/// What all of the operator's commands take.
#[derive(Debug, clap::Args)]
pub(super) struct Reach {
    #[command(flatten)]
    flags: Flags<OperatorCommand>,

    /// Answer in JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Where commands are asked for.
pub(super) struct Desk {
    data: PathBuf,
    /// The cluster's database, where it is none of a data directory.
    shared: Option<PostgresAddress>,
    remote: Option<Client>,
    runtime: Runtime,
}

impl Reach {
    /// Reads the settings; nothing is reached yet.
    pub(super) fn desk(self, file: Option<PathBuf>) -> Result<Desk, Failure> {
        let environment = Environment::of_process()?;
        let token = environment.admin_token().map(str::to_owned);
        let mut loaded = Config::load(self.flags, file, environment)?;
        loaded.warnings.iter().for_each(|warning| say(&format!("cairn: warning: {warning}")));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::start(format!("threads could not be started: {error}")))?;
        slot::find(&mut loaded.config.data)?;
        let remote = remote(&loaded.config, token)?;
        let shared = database::postgres(&loaded.config)?;
        Ok(Desk { data: loaded.config.data, shared, remote, runtime })
    }
}

/// The client for the admin address, if one is set.
fn remote(config: &Config, token: Option<String>) -> Result<Option<Client>, Failure> {
    let Some(address) = &config.admin else { return Ok(None) };
    let token = match (token, &config.admin_token_file) {
        (_, Some(file)) => read_token(file)?,
        (Some(token), None) => token,
        (None, None) => read_token(&config.data.join(ADMIN_TOKEN))?,
    };
    Ok(Some(Client::tcp(address.as_str(), token)))
}

fn read_token(path: &Path) -> Result<String, Failure> {
    let text = secret_file::text("the admin token", path).map_err(|failure| {
        Failure::start(format!(
            "{failure}; the gateway keeps it in admin.token in its data directory: name a copy with --admin-token-file, or \
             set CAIRN_ADMIN_TOKEN"
        ))
    })?;
    Ok(text.expose().to_owned())
}

/// The token that operators show at this directory's admin address; made at
/// the first call and kept.
fn admin_token(directory: &DataDir, env: &Env) -> Result<String, Failure> {
    if let Some(kept) = directory.read_secret(ADMIN_TOKEN)? {
        let text = String::from_utf8(kept).unwrap_or_default().trim().to_owned();
        return match text.len() >= TOKEN_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(text),
            false => Err(Failure::start(format!(
                "the admin token in {} is damaged or shorter than {TOKEN_BYTES} characters: remove the file, and a new \
                 one is made",
                directory.path().join(ADMIN_TOKEN).display()
            ))),
        };
    }
    let token: String = env.random::<TOKEN_BYTES>().iter().map(|byte| format!("{byte:02x}")).collect();
    directory.write_secret(ADMIN_TOKEN, format!("{token}\n").as_bytes())?;
    Ok(token)
}

impl Desk {
    /// Does the command, wherever that is possible.
    pub(super) fn ask<C: Command>(&self, command: &C) -> Result<C::Reply, Failure> {
        self.runtime.block_on(async {
            if let Some(client) = &self.remote {
                return client.call(command).await.map_err(failure);
            }
            let client = Client::unix(&self.data);
            match client.call(command).await {
                Err(error) if error.kind == ErrorKind::NotRunning => {}
                answered => return answered.map_err(failure),
            }
            if let Some(address) = &self.shared {
                return over_shared(address.clone(), command).await;
            }
            check_there(&self.data)?;
            match DataDir::open_unused(&self.data)? {
                Some(directory) => offline(&directory, command).await,
                // Somebody has begun to serve meanwhile.
                None => client.call(command).await.map_err(|error| starting(&self.data, error)),
            }
        })
    }
}

/// What went wrong, and how the process ends for it.
fn failure(error: AdminError) -> Failure {
    match error.kind {
        ErrorKind::Invalid | ErrorKind::Denied | ErrorKind::NotRunning => Failure::start(error.sentence),
        _ => Failure::running(error.sentence),
    }
}

fn starting(data: &Path, error: AdminError) -> Failure {
    match error.kind {
        ErrorKind::NotRunning => Failure::running(format!(
            "a process has {} and does not answer operators: it is starting or stopping; try again in a moment",
            data.display()
        )),
        _ => failure(error),
    }
}

/// An operator's command makes no data directory, and changes nothing in a
/// directory that is none.
fn check_there(data: &Path) -> Result<(), Failure> {
    let path = data.display();
    match std::fs::metadata(data) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(Failure::start(format!("{path} is a file: name a data directory with --data"))),
        Err(error) => {
            let reason = reason(&error);
            return Err(Failure::start(format!(
                "there is no data directory at {path} ({reason}): name the gateway's with --data, its address with \
                 --admin, or its PostgreSQL with --metadata"
            )));
        }
    }
    let database = data.join("metadata.db");
    // Opened as SQLite will have it, whose own words for this name no user.
    let opened = OpenOptions::new().read(true).write(true).open(&database);
    opened.map(drop).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::start(format!(
            "{path} is no data directory of `cairn up` or `cairn gateway`, or of one whose metadata is elsewhere: it holds \
             no metadata.db; name another with --data, or the PostgreSQL with --metadata"
        )),
        io::ErrorKind::PermissionDenied => {
            Failure::start(format!("{path} belongs to another user: run this as the user that the gateway runs as"))
        }
        _ => Failure::io("the metadata database could not be opened", &database, &error),
    })
}

/// Does the command over the database, which this process has for itself.
async fn offline<C: Command>(directory: &DataDir, command: &C) -> Result<C::Reply, Failure> {
    process::keep_files_private();
    let path = directory.path().join("metadata.db");
    let unfinished = || Failure::start(format!("{} is not complete: start it once", directory.path().display()));
    let cluster = directory.cluster()?.ok_or_else(unfinished)?;
    let options = SqliteOptions { path, cache_kib: 2048, readers: 2 };
    let metadata = Metadata::open_sqlite(options).map_err(database::failed)?;
    let outcome = over(metadata.clone(), cluster, directory.last_scheme()?, command).await;
    metadata.close().await;
    outcome
}

async fn over<C: Command>(
    metadata: Metadata,
    cluster: ClusterId,
    last_scheme: Option<Scheme>,
    command: &C,
) -> Result<C::Reply, Failure> {
    metadata.write(OpenCluster { cluster }).await.map_err(database::failed)?;
    let parts = OperatorParts { metadata, env: Env::real(), cluster, doors: Vec::new(), live: None, is_shared: false };
    Operator::new(parts).with_last_scheme(last_scheme).run(command).await.map_err(failure)
}

/// Does the command over the database of a cluster whose gateways may run, on
/// this machine or on others.
async fn over_shared<C: Command>(address: PostgresAddress, command: &C) -> Result<C::Reply, Failure> {
    let place = address.to_string();
    let metadata = database::open_postgres(address).await?;
    let nobodys = || Failure::start(format!("the PostgreSQL at {place} holds no cluster yet: start a gateway on it"));
    let cluster = metadata.read(FindCluster).await.map_err(database::failed)?.ok_or_else(nobodys)?;
    let parts = OperatorParts {
        metadata: metadata.clone(),
        env: Env::real(),
        cluster,
        doors: Vec::new(),
        live: None,
        is_shared: true,
    };
    let outcome = Operator::new(parts).run(command).await.map_err(failure);
    metadata.close().await;
    outcome
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_database_that_cannot_be_opened_is_no_riddle() {
        let parent = tempfile::tempdir().unwrap();
        let refusal = || check_there(parent.path()).unwrap_err().to_string();
        assert!(refusal().contains("it holds no metadata.db"));
        let database = parent.path().join("metadata.db");
        std::fs::create_dir(&database).unwrap();
        assert!(refusal().contains("it is a directory"), "{}", refusal());
        std::fs::remove_dir(&database).unwrap();
        std::fs::write(&database, "").unwrap();
        check_there(parent.path()).unwrap();
        std::fs::set_permissions(&database, std::fs::Permissions::from_mode(0o000)).unwrap();
        // The superuser may do everything.
        if std::fs::File::open(&database).is_err() {
            assert!(refusal().contains("belongs to another user"), "{}", refusal());
        }
    }

    #[test]
    fn the_admin_token_is_made_once_and_kept_private() {
        let parent = tempfile::tempdir().unwrap();
        let directory = DataDir::open(&parent.path().join("data")).unwrap();
        let token = admin_token(&directory, &Env::real()).unwrap();
        assert_eq!(token.len(), 64);
        assert_eq!(admin_token(&directory, &Env::real()).unwrap(), token);
        let path = directory.path().join("admin.token");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_token(&path).unwrap(), token);
        std::fs::write(&path, "short\n").unwrap();
        let sentence = admin_token(&directory, &Env::real()).unwrap_err().to_string();
        assert!(sentence.contains("remove the file") && !sentence.contains("short\n"), "{sentence}");
    }

    #[test]
    fn a_directory_of_something_else_is_not_touched() {
        let parent = tempfile::tempdir().unwrap();
        let nowhere = parent.path().join("nowhere");
        assert!(check_there(&nowhere).unwrap_err().to_string().contains("there is no data directory"));
        assert!(!nowhere.exists());
        assert!(check_there(parent.path()).unwrap_err().to_string().contains("no metadata.db"));
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
