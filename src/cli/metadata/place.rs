//! Where a database is that metadata is copied from or to, as an operator
//! writes it: `sqlite:DIR` or the address of a PostgreSQL.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::settings::Secret;
use crate::cli::{DataDir, Failure, process, secret_file};
use crate::metadata::{CopySide, Metadata, MetadataError, PostgresAddress, PostgresOptions, SqliteOptions};
use crate::types::ClusterId;

/// How long the server may take for a page of rows, or wait for whoever is in
/// the way.
const STATEMENT: Duration = Duration::from_secs(30);
/// Page cache of each of SQLite's connections, in KiB.
const CACHE_KIB: u32 = 16 << 10;

/// A database.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// SQLite, in this data directory.
    Directory(PathBuf),
    /// A PostgreSQL, and the file that its address is in, if it is in one.
    Postgres(Box<PostgresAddress>, Option<PathBuf>),
}

/// A database that is open, and its directory, which nobody else has.
pub(super) struct Opened {
    pub(super) side: CopySide,
    _directory: Option<DataDir>,
}

fn failed(error: MetadataError) -> Failure {
    Failure::start(error.to_string())
}

impl Place {
    /// Reads what was given as `--from` or `--to`, or in a file. The text is
    /// never repeated: it may hold a password.
    pub(super) fn read(flag: &str, given: Option<String>, file: Option<PathBuf>) -> Result<Self, Failure> {
        let text = match (&file, given) {
            (Some(file), _) => secret_file::text("the file with a database's address", file)?,
            (None, given) => Secret::new(given.unwrap_or_default()),
        };
        let text = text.expose().trim();
        if let Some(directory) = text.strip_prefix("sqlite:").filter(|directory| !directory.is_empty()) {
            return Ok(Self::Directory(directory.into()));
        }
        if !["postgres://", "postgresql://", "host="].iter().any(|start| text.starts_with(start)) {
            return Err(Failure::start(format!(
                "{flag} is neither sqlite:DIR with a data directory nor an address like \
                 postgres://user:password@host:5432/database"
            )));
        }
        Ok(Self::Postgres(Box::new(PostgresAddress::parse(text).map_err(failed)?), file))
    }

    /// Whether both are the same as far as their names tell.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Directory(one), Self::Directory(other)) => absolute(one) == absolute(other),
            (Self::Postgres(one, _), Self::Postgres(other, _)) => one.to_string() == other.to_string(),
            _ => false,
        }
    }

    /// What people call it; without any secret.
    fn name(&self) -> String {
        match self {
            Self::Directory(directory) => format!("sqlite:{}", absolute(directory).display()),
            Self::Postgres(address, _) => format!("the PostgreSQL at {address}"),
        }
    }

    /// Opens a database that has to be there.
    pub(super) async fn open(&self) -> Result<Opened, Failure> {
        let Self::Directory(path) = self else { return self.open_at(None).await };
        check_there(path)?;
        self.open_at(Some(take(path)?)).await
    }

    /// Opens a database that this cluster's metadata is copied to. A directory
    /// is made if it is not there, and is this cluster's from then on.
    pub(super) async fn open_for(&self, cluster: ClusterId) -> Result<Opened, Failure> {
        let Self::Directory(path) = self else { return self.open_at(None).await };
        process::keep_files_private();
        let directory = if path.exists() { take(path)? } else { DataDir::open(path)? };
        match directory.cluster()? {
            None => directory.finish(cluster)?,
            Some(found) if found == cluster => {}
            Some(found) => {
                return Err(Failure::start(format!(
                    "the data directory {} belongs to another cluster ({found}): choose another one",
                    path.display()
                )));
            }
        }
        self.open_at(Some(directory)).await
    }

    async fn open_at(&self, directory: Option<DataDir>) -> Result<Opened, Failure> {
        let metadata = match self {
            Self::Directory(path) => {
                let options = SqliteOptions { path: path.join("metadata.db"), cache_kib: CACHE_KIB, readers: 2 };
                Metadata::open_sqlite(options).map_err(failed)?
            }
            Self::Postgres(address, _) => {
                let mut options = PostgresOptions::new((**address).clone());
                (options.connections, options.statement_timeout) = (4, STATEMENT);
                Metadata::open_postgres(options).await.map_err(failed)?
            }
        };
        Ok(Opened { side: CopySide { metadata, place: self.name() }, _directory: directory })
    }
}

/// Nobody else has the directory until it is dropped.
fn take(path: &Path) -> Result<DataDir, Failure> {
    let in_use = || {
        let path = path.display();
        Failure::start(format!("a process runs on the data directory {path}: stop it first, then run this again"))
    };
    DataDir::open_unused(path)?.ok_or_else(in_use)
}

fn check_there(path: &Path) -> Result<(), Failure> {
    let database = path.join("metadata.db");
    match fs::metadata(&database) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Failure::start(format!(
            "{} is no data directory of `cairn up` or `cairn gateway`: it holds no metadata.db",
            path.display()
        ))),
        Err(error) => Err(Failure::io("the metadata database could not be opened", &database, &error)),
    }
}

/// The same text for the same directory, wherever the program is started.
fn absolute(path: &Path) -> PathBuf {
    let absolute = || std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    fs::canonicalize(path).unwrap_or_else(|_| absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_refused_and_never_repeated() {
        let read = |text: &str| Place::read("--to", Some(text.to_owned()), None);
        for text in ["", "sqlite", "sqlite:", "hunter2", "/srv/hunter2", "mysql://me:hunter2@a/b"] {
            let sentence = read(text).unwrap_err().to_string();
            assert!(sentence.starts_with("--to is neither sqlite:DIR") && !sentence.contains("hunter2"), "{sentence}");
        }
        assert!(!format!("{}", read("postgres://me:hunter2@a:b/c").unwrap_err()).contains("hunter2"));
        assert!(!format!("{:?}", read("postgres://me:hunter2@a/c").unwrap()).contains("hunter2"));
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "postgres://me:hunter2@a/c\n").unwrap();
        let place = Place::read("--to", None, Some(file.path().to_owned())).unwrap();
        assert_eq!(place.name(), "the PostgreSQL at a:5432/c");
        assert!(place.is_same(&read("host=a user=you dbname=c").unwrap()));
        assert!(read("sqlite:/").unwrap().is_same(&read("sqlite:/./").unwrap()));
        assert!(!read("sqlite:/").unwrap().is_same(&place));
    }
}
