//! The cluster's secret: made once, kept in the data directory, and shown to
//! people as the recovery phrase.

use std::io::Write;
use std::path::Path;

use zeroize::Zeroizing;

use super::data_dir::CLUSTER_KEY;
use super::{DataDir, Failure, secret_file};
use crate::env::Env;
use crate::seal::ClusterSecret;
use crate::types::ClusterId;

/// The secret of the cluster that this directory belongs to: the one in the
/// file that was given, or the directory's own. For a new directory on a
/// database that is nobody's (`owner`) it is made and durable, and
/// [`introduce`] has to follow.
///
/// # Errors
/// A key that is missing, damaged, readable by everybody or another cluster's.
pub(super) fn of(
    given: Option<&Path>,
    directory: &DataDir,
    owner: Option<ClusterId>,
    env: &Env,
) -> Result<ClusterSecret, Failure> {
    if let Some(file) = given {
        return of_file(file, directory);
    }
    let kept = directory.read_secret(CLUSTER_KEY)?.map(Zeroizing::new);
    match (directory.cluster()?, kept) {
        (Some(cluster), Some(bytes)) => {
            let secret = from_file(&bytes, directory)?;
            if secret.cluster_id() == cluster { Ok(secret) } else { Err(refused(directory, "is another cluster's")) }
        }
        (Some(_), None) => Err(refused(directory, "is missing")),
        (None, Some(bytes)) => from_file(&bytes, directory),
        (None, None) if owner.is_some() => Err(Failure::start(format!(
            "the metadata database belongs to a cluster whose secret is not in the data directory {}: name the file \
             cluster.key of a gateway of that cluster with --cluster-key-file",
            directory.path().display()
        ))),
        (None, None) => make(directory, env),
    }
}

/// Marks a new directory as this cluster's. Before that, the phrase of a secret
/// that was made here is written to `people`: a start that is cut off shows it
/// again next time. Where nobody watches, it would only stay in a log.
pub(super) fn introduce(
    secret: &ClusterSecret,
    given: Option<&Path>,
    directory: &DataDir,
    people: Option<&mut dyn Write>,
) -> Result<(), Failure> {
    if directory.cluster()?.is_some() {
        return Ok(());
    }
    match people {
        _ if given.is_some() => {}
        // The key is in its file, so a broken line is no reason to stop.
        Some(people) => {
            let _ = writeln!(people, "{}", *phrase_for_people(secret)).and_then(|()| people.flush());
        }
        None => tracing::info!(
            "write the recovery phrase of this new cluster down and keep it safe; it does not belong into a log, so \
             `cairn secrets phrase --data {}` shows it",
            directory.path().display()
        ),
    }
    directory.finish(secret.cluster_id())
}

/// The secret that another gateway of the cluster has made.
fn of_file(file: &Path, directory: &DataDir) -> Result<ClusterSecret, Failure> {
    let secret = of_bytes(file)?;
    if directory.cluster()?.is_some_and(|cluster| cluster != secret.cluster_id()) {
        return Err(Failure::start(format!(
            "the data directory {} belongs to another cluster than the secret in {}: use another directory",
            directory.path().display(),
            file.display()
        )));
    }
    Ok(secret)
}

/// The secret in this file.
///
/// # Errors
/// A file that cannot be read, or holds something else.
pub(super) fn of_bytes(file: &Path) -> Result<ClusterSecret, Failure> {
    let bytes = secret_file::bytes("the file with the cluster's secret", file)?;
    let bytes: [u8; 32] = bytes
        .as_slice()
        .try_into()
        .map_err(|_| Failure::start(format!("{} is not a cluster's secret, which has 32 bytes", file.display())))?;
    Ok(ClusterSecret::from_bytes(bytes))
}

fn make(directory: &DataDir, env: &Env) -> Result<ClusterSecret, Failure> {
    let bytes = Zeroizing::new(env.random::<32>());
    directory.write_secret(CLUSTER_KEY, bytes.as_slice())?;
    Ok(ClusterSecret::from_bytes(*bytes))
}

fn from_file(bytes: &[u8], directory: &DataDir) -> Result<ClusterSecret, Failure> {
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| refused(directory, "is damaged: it should have 32 bytes"))?;
    Ok(ClusterSecret::from_bytes(bytes))
}

fn refused(directory: &DataDir, wrong: &str) -> Failure {
    Failure::start(format!(
        "the cluster's secret {} {wrong}; without it nothing in this directory can be read, so restore the file from a copy, or \
         name one with --cluster-key-file",
        directory.path().join(CLUSTER_KEY).display()
    ))
}

/// The recovery phrase, and what it is.
pub(super) fn phrase_for_people(secret: &ClusterSecret) -> Zeroizing<String> {
    let phrase = secret.phrase();
    let mut text = Zeroizing::new(String::with_capacity(512));
    text.push_str("\nThis is the recovery phrase of your new cluster. Write it down and keep it safe: whoever has\n");
    text.push_str("it can read everything, and without it a lost data directory is a lost cluster.\n");
    for (at, word) in phrase.split(' ').enumerate() {
        text.push_str(if at % 6 == 0 { "\n    " } else { " " });
        text.push_str(word);
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn directory() -> (tempfile::TempDir, DataDir) {
        let parent = tempfile::tempdir().unwrap();
        let directory = DataDir::open(&parent.path().join("data")).unwrap();
        (parent, directory)
    }

    fn open(directory: &DataDir) -> (Result<ClusterSecret, String>, String) {
        let mut people = Vec::new();
        let secret = of(None, directory, None, &Env::real()).and_then(|secret| {
            introduce(&secret, None, directory, Some(&mut people))?;
            Ok(secret)
        });
        (secret.map_err(|failure| failure.to_string()), String::from_utf8(people).unwrap())
    }

    fn phrase_in(text: &str) -> String {
        let rows = text.lines().filter_map(|line| line.strip_prefix("    "));
        rows.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_secret_is_made_once_and_its_phrase_restores_it() {
        let (_parent, directory) = directory();
        let (made, shown) = open(&directory);
        let made = made.unwrap();
        assert_eq!(ClusterSecret::from_phrase(&phrase_in(&shown)).unwrap().expose(), made.expose());
        let mode = fs::metadata(directory.path().join(CLUSTER_KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let (again, shown) = open(&directory);
        assert_eq!(again.unwrap().expose(), made.expose());
        assert_eq!(shown, "");
    }

    #[test]
    fn a_first_start_that_was_cut_off_shows_the_same_phrase_again() {
        let (_parent, directory) = directory();
        let (_, first) = open(&directory);
        fs::remove_file(directory.path().join("format")).unwrap();
        let (_, second) = open(&directory);
        assert_eq!(phrase_in(&first), phrase_in(&second));
    }

    #[test]
    fn no_secret_is_made_for_a_database_that_is_somebodys() {
        let (_parent, directory) = directory();
        let secret = ClusterSecret::from_bytes([7; 32]);
        let refused = of(None, &directory, Some(secret.cluster_id()), &Env::real()).unwrap_err().to_string();
        assert!(refused.contains("--cluster-key-file"), "{refused}");
        assert!(!directory.path().join(CLUSTER_KEY).exists());

        let file = directory.path().join("given");
        fs::write(&file, secret.expose()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let given = of(Some(&file), &directory, Some(secret.cluster_id()), &Env::real()).unwrap();
        let mut people = Vec::new();
        introduce(&given, Some(&file), &directory, Some(&mut people)).unwrap();
        assert!(people.is_empty(), "its phrase was shown where it was made");
        assert_eq!(directory.cluster().unwrap(), Some(secret.cluster_id()));
        fs::write(&file, [8; 32]).unwrap();
        assert!(of(Some(&file), &directory, None, &Env::real()).unwrap_err().to_string().contains("another cluster"));
    }

    #[test]
    fn a_key_that_does_not_fit_is_refused_and_never_replaced() {
        let (_parent, directory) = directory();
        open(&directory).0.unwrap();
        let key = directory.path().join(CLUSTER_KEY);
        for (content, words) in [(&[7; 32][..], "is another cluster's"), (&[7; 31][..], "is damaged")] {
            fs::write(&key, content).unwrap();
            assert!(open(&directory).0.unwrap_err().contains(words));
        }
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(open(&directory).0.unwrap_err().contains("every user of this machine"));
        fs::remove_file(&key).unwrap();
        assert!(open(&directory).0.unwrap_err().contains("is missing"));
        assert!(!key.exists());
    }
}
