//! `cairn secrets`: makes what must be secret before anything runs, so that it
//! can be handed to containers as files. Needs no database and no network.

use std::fs::DirBuilder;
use std::io::{self, IsTerminal};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use zeroize::Zeroizing;

use super::data_dir::CLUSTER_KEY;
use super::settings::{Config, DataCommand, Environment, Flags, door};
use super::{Failure, answer, cluster_key, say};
use crate::env::{Env, write_private_once};
use crate::seal::ClusterSecret;
use crate::types::TokenId;
use crate::types::limits::{DOORS_MAX, TOKEN_BYTES_MAX};
use crate::wire::{Credential, JoinToken};

const JOIN_TOKEN: &str = "join.token";
const ACCESS_KEY: &str = "access-key";
const SECRET_KEY: &str = "secret-key";
/// All of them; the first one is what the others follow from.
const NAMES: [&str; 4] = [CLUSTER_KEY, JOIN_TOKEN, ACCESS_KEY, SECRET_KEY];

/// Make the secrets of a cluster before anything of it runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cairn secrets create --out secrets --door cairn-door:9100

  Then one of:
    kubectl create secret generic cairn --from-file=secrets
    for name in cluster.key join.token access-key secret-key; do docker secret create cairn-$name secrets/$name; done")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(Create),
    Phrase(Phrase),
}

/// Show the recovery phrase of the cluster.
///
/// It is the cluster's secret in words: whoever has it can read everything, and
/// without it a lost data directory is a lost cluster. It is read from the
/// cluster.key of a data directory, or from the file that is named.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cairn secrets phrase --data /srv/cairn
  docker compose exec cairn /cairn secrets phrase              # with CAIRN_DATA in the environment
  cairn secrets phrase --cluster-key-file secrets/cluster.key")]
struct Phrase {
    #[command(flatten)]
    flags: Flags<DataCommand>,

    /// The file with the cluster's secret; that of the data directory if not given
    #[arg(long, value_name = "FILE")]
    cluster_key_file: Option<PathBuf>,
}

/// Make a new cluster's secrets as files that their owner alone may read.
///
/// cluster.key is the cluster's secret: whoever has it holds the cluster, and
/// without it nothing can be read. join.token lets any number of nodes join.
/// access-key and secret-key are the S3 keys that gateways with this secret use
/// by themselves. Nothing that is there is overwritten.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The gateway takes them by --cluster-key-file, --join-token-file, --root-access-key-file and --root-secret-key-file, a
node by --join-file.")]
struct Create {
    /// The folder to make them in; it is made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// The node door as nodes will reach it; may be given more than once
    #[arg(long, value_name = "HOST:PORT", required = true, value_parser = door)]
    door: Vec<String>,

    /// Do nothing where all of them are there, and make what is missing of a set that was cut off
    #[arg(long)]
    if_missing: bool,
}

pub(super) fn command(arguments: Arguments, file: Option<PathBuf>) -> Result<(), Failure> {
    match arguments.command {
        Command::Create(create) => create.run(),
        Command::Phrase(phrase) => phrase.run(file),
    }
}

impl Phrase {
    fn run(self, file: Option<PathBuf>) -> Result<(), Failure> {
        let key = match self.cluster_key_file {
            Some(key) => key,
            None => Config::load(self.flags, file, Environment::of_process()?)?.config.data.join(CLUSTER_KEY),
        };
        answer(&format!("{}\n", *cluster_key::of_bytes(&key)?.phrase()))
    }
}

impl Create {
    fn run(&self) -> Result<(), Failure> {
        let env = Env::real();
        make_folder(&self.out)?;
        self.check_what_is_there()?;
        let made = self.make(&env)?;
        let dir = self.out.display();
        match made.as_slice() {
            [] => answer(&format!("all secrets are in {dir} already\n")),
            made => answer(&format!("made in {dir}: {}\n", made.join(", "))),
        }
    }

    /// A secret that was lost is not made anew beside what follows from it.
    fn check_what_is_there(&self) -> Result<(), Failure> {
        let there: Vec<&str> = NAMES.into_iter().filter(|name| self.out.join(name).exists()).collect();
        let dir = self.out.display();
        match there.as_slice() {
            [] => Ok(()),
            [name, ..] if !self.if_missing => Err(Failure::start(format!(
                "{dir} holds {name} already, and no secret is overwritten: choose another folder with --out, or add \
                 --if-missing"
            ))),
            [first, ..] if *first != CLUSTER_KEY => Err(Failure::start(format!(
                "{dir} holds {first} and no {CLUSTER_KEY}, from which it was made: restore that file from a copy, or choose \
                 an empty folder with --out"
            ))),
            _ => Ok(()),
        }
    }

    /// Makes what is missing; answers what that was.
    fn make(&self, env: &Env) -> Result<Vec<&'static str>, Failure> {
        let mut made = Vec::new();
        let fresh = Zeroizing::new(env.random::<32>());
        // Checked before anything is written.
        self.token(env, &ClusterSecret::from_bytes(*fresh))?;
        let is_new = self.write(env, CLUSTER_KEY, fresh.as_slice(), &mut made)?;
        // Whoever was quicker has made another one.
        let secret = cluster_key::of_bytes(&self.out.join(CLUSTER_KEY))?;
        self.write(env, JOIN_TOKEN, self.token(env, &secret)?.as_bytes(), &mut made)?;
        let (access_key, secret_key) = secret.root_key_pair();
        self.write(env, ACCESS_KEY, access_key.as_bytes(), &mut made)?;
        self.write(env, SECRET_KEY, secret_key.as_bytes(), &mut made)?;
        if is_new && io::stderr().is_terminal() {
            // Not where it would end up in a log.
            say(&cluster_key::phrase_for_people(&secret));
        }
        Ok(made)
    }

    fn write(
        &self,
        env: &Env,
        name: &'static str,
        bytes: &[u8],
        made: &mut Vec<&'static str>,
    ) -> Result<bool, Failure> {
        let written = write_private_once(&self.out, name, bytes, &env.entropy);
        let failed = |error: io::Error| Failure::io("a secret could not be written", &self.out.join(name), &error);
        let is_new = written.map_err(failed)?;
        if is_new {
            made.push(name);
        }
        Ok(is_new)
    }

    /// A token of unlimited uses that is good for ever.
    fn token(&self, env: &Env, secret: &ClusterSecret) -> Result<Zeroizing<String>, Failure> {
        let token = JoinToken {
            doors: self.door.clone(),
            cluster: secret.cluster_id(),
            credential: Credential { id: TokenId::from_bytes(env.random()), secret: env.random() },
            expires_ms: None,
            uses: None,
            labels: Default::default(),
        };
        let text = Zeroizing::new(token.to_string());
        if self.door.len() > DOORS_MAX || text.len() > TOKEN_BYTES_MAX {
            return Err(Failure::start(format!(
                "a token names at most {DOORS_MAX} doors, in {TOKEN_BYTES_MAX} characters: name fewer with --door; nodes learn \
                 of the others"
            )));
        }
        Ok(text)
    }
}

fn make_folder(path: &Path) -> Result<(), Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| Failure::io("the folder for the secrets could not be made", path, &error))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn create(out: &Path, if_missing: bool) -> Result<Vec<&'static str>, String> {
        let create = Create { out: out.to_owned(), door: vec!["cairn-door:9100".to_owned()], if_missing };
        let made = create.check_what_is_there().and_then(|()| create.make(&Env::real()));
        made.map_err(|failure| failure.to_string())
    }

    fn contents(dir: &Path) -> Vec<Vec<u8>> {
        NAMES.map(|name| fs::read(dir.join(name)).unwrap()).to_vec()
    }

    #[test]
    fn all_follow_from_the_first_and_none_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(create(dir.path(), false).unwrap(), NAMES);
        let before = contents(dir.path());
        let secret = ClusterSecret::from_bytes(before[0].as_slice().try_into().unwrap());
        let token: JoinToken = std::str::from_utf8(&before[1]).unwrap().parse().unwrap();
        assert_eq!((token.cluster, token.uses, token.expires_ms), (secret.cluster_id(), None, None));
        assert_eq!(token.doors, ["cairn-door:9100"]);
        assert_eq!(before[2], secret.root_key_pair().0.as_bytes());

        assert!(create(dir.path(), false).unwrap_err().contains("holds cluster.key already"));
        assert!(create(dir.path(), true).unwrap().is_empty());
        assert_eq!(contents(dir.path()), before);
    }

    #[test]
    fn what_was_cut_off_is_completed_and_what_was_lost_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        create(dir.path(), true).unwrap();
        let before = contents(dir.path());
        fs::remove_file(dir.path().join(SECRET_KEY)).unwrap();
        assert_eq!(create(dir.path(), true).unwrap(), [SECRET_KEY]);
        assert_eq!(contents(dir.path()), before);
        fs::remove_file(dir.path().join(CLUSTER_KEY)).unwrap();
        assert!(create(dir.path(), true).unwrap_err().contains("restore that file"));
        assert!(!dir.path().join(CLUSTER_KEY).exists());
    }

    #[test]
    fn several_at_once_come_to_one_set() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            (0..4).for_each(|_| drop(scope.spawn(|| create(dir.path(), true).unwrap())));
        });
        let contents = contents(dir.path());
        let secret = ClusterSecret::from_bytes(contents[0].as_slice().try_into().unwrap());
        let token: JoinToken = std::str::from_utf8(&contents[1]).unwrap().parse().unwrap();
        assert_eq!(token.cluster, secret.cluster_id());
        assert_eq!(contents[3], secret.root_key_pair().1.as_bytes());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), NAMES.len(), "nothing else is left behind");
    }
}
