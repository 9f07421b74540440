//! The configuration: one typed struct, its reference text, and the table
//! that flags, environment, file, `cairn config` and the reference share.
//!
//! To add a setting, add it to the list below: its doc comment becomes the
//! flag's help and its section in `docs/configuration.md`.

mod bytes;
mod file;
mod flags;
mod layers;
mod nearest;
mod origin;
mod reference;
mod root;
mod values;

use std::path::PathBuf;

pub use bytes::ByteSize;
pub use flags::{
    AllCommands, Command, DataCommand, Flags, GatewayCommand, NodeCommand, OperatorCommand, UpCommand, WorkerCommand,
};
pub use layers::{Environment, Loaded};
pub use origin::{Origin, Origins};
pub use reference::reference;
pub use root::{Credentials, RootPair, Secret};
pub use values::{
    Address, ByteRate, Capacity, Database, Domains, DoorNames, Join, Labels, Listen, LogFilter, LogFormat, Memory,
    NodeCount, Region, Wait, door,
};

use super::failure::Failure;
use crate::erasure::Scheme;
use layers::Layers;
use values::Setting;

/// What holds when nobody sets a value.
#[derive(Debug, Clone, Copy)]
enum Preset {
    /// This text, read as any other layer's would be.
    Value(&'static str),
    /// Nothing is set; what happens then.
    Unset(&'static str),
}

use Preset::{Unset, Value};

impl Preset {
    fn text(self) -> &'static str {
        match self {
            Value(text) => text,
            Unset(_) => "",
        }
    }
}

/// A command that settings are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Up,
    Gateway,
    Worker,
    Node,
    /// `cairn token`, `cairn nodes` and `cairn status`.
    Operator,
}

use For::{Gateway, Node, Operator, Up, Worker};

/// One row of the table that all layers share.
#[derive(Debug)]
struct Field {
    name: &'static str,
    /// The doc comment, a line each.
    doc: &'static [&'static str],
    /// The commands that act on it.
    commands: &'static [For],
    /// What the flag's value is called.
    placeholder: &'static str,
    preset: Preset,
    expected: &'static str,
    /// Whether the flag may be given more than once.
    is_list: bool,
}

impl Field {
    fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }

    fn variable(&self) -> String {
        format!("CAIRN_{}", self.name.to_ascii_uppercase())
    }

    /// The first paragraph and the default, for `--help`.
    fn help(&self) -> String {
        let lines: Vec<&str> = self.doc.iter().map(|line| line.trim()).take_while(|line| !line.is_empty()).collect();
        let default = match self.preset {
            Value("") => "none",
            Value(text) | Unset(text) => text,
        };
        format!("{} [default: {default}]", lines.join(" "))
    }
}

macro_rules! settings {
    ($( $(#[doc = $doc:literal])+ $name:ident: $type:ty, $commands:expr, $placeholder:literal, $preset:expr; )+) => {
        /// The effective configuration: every value, checked, with where it
        /// came from.
        #[derive(Debug, Clone)]
        pub struct Config {
            $( $(#[doc = $doc])+ pub $name: $type, )+
            /// Where the root key pair is, where somebody gives one.
            pub root: Option<RootPair>,
            origins: Origins,
        }

        static FIELDS: Fields = Fields(&[
            $( Field {
                name: stringify!($name),
                doc: &[$($doc),+],
                commands: $commands,
                placeholder: $placeholder,
                preset: $preset,
                expected: <$type as Setting>::EXPECTED,
                is_list: <$type as Setting>::IS_LIST,
            } ),+
        ]);

        impl Config {
            fn read(layers: &Layers, mut origins: Origins) -> Result<Self, Failure> {
                Ok(Self {
                    $( $name: layers.read::<$type>(FIELDS.named(stringify!($name)), &mut origins)?, )+
                    root: None,
                    origins,
                })
            }

            /// Every setting's name and value, in the order of the reference.
            fn values(&self) -> Vec<(&'static str, serde_json::Value)> {
                vec![$( (stringify!($name), Setting::json(&self.$name)) ),+]
            }
        }
    };
}

settings! {
    /// The data directory. Everything that has to be kept is in it: the
    /// cluster's secret and the metadata, or a node's key and pieces. It is
    /// made if it is not there.
    ///
    /// Where several processes share a volume, `{slot}` in it stands for the
    /// first number whose folder no other one has: `/data/{slot}`.
    data: PathBuf, &[Up, Gateway, Worker, Node, Operator], "DIR", Value("./cairn-data");

    /// Where the metadata is: `sqlite`, in the data directory, for one gateway;
    /// or `postgres://user:password@host/database`, for as many as you like.
    ///
    /// Several hosts may be named (`host1,host2`): the one that takes writes is
    /// used. A password is better in a file: see the next setting.
    metadata: Database, &[Gateway, Worker, Operator], "URL", Value("sqlite");

    /// A file with that address, for secrets that are mounted.
    metadata_file: Option<PathBuf>, &[Gateway, Worker, Operator], "FILE", Unset("none");

    /// A file with the cluster's secret: `cluster.key` of the first gateway's
    /// data directory, for further gateways on the same database.
    cluster_key_file: Option<PathBuf>, &[Gateway, Worker], "FILE", Unset("cluster.key in the data directory");

    /// How long a start waits for a PostgreSQL that is not there yet: whose name
    /// nobody knows, where nothing listens, or that is starting itself.
    ///
    /// What it refuses, such as a wrong password, ends the start at once.
    start_wait: Wait, &[Gateway, Worker], "TIME", Value("60s");

    /// Whether this gateway also repairs, moves and deletes pieces.
    ///
    /// With `false` it serves S3 and nothing else: then `cairn worker` has to run
    /// on the same PostgreSQL.
    workers: bool, &[Gateway], "true|false", Value("true");

    /// The address and port to serve S3 on. Port 0 takes any free one.
    ///
    /// The default can be reached from this machine only; `0.0.0.0:9000`
    /// serves every network that the machine is in.
    listen: Listen, &[Up, Gateway], "ADDR", Value("127.0.0.1:9000");

    /// The address and port that storage nodes dial. Port 0 takes any free one.
    ///
    /// It is the only port that has to be open to volunteers; they open none.
    node_door: Listen, &[Gateway, Worker], "ADDR", Value("0.0.0.0:9100");

    /// Names under which nodes reach the node door, as `host:port`, separated
    /// by commas. Tokens carry them.
    ///
    /// Use a DNS name that you can point elsewhere: nodes keep it. `{hostname}`
    /// stands for this machine's name and `{address}` for its first address that
    /// is not loopback: with `{address}:9100`, each of several replicas names its
    /// own door.
    door_name: DoorNames, &[Gateway, Worker], "HOST:PORT,…", Value("");

    /// How many storage nodes to run in this process, each with a folder of its
    /// own under `nodes/` in the data directory.
    nodes: NodeCount, &[Up], "N", Value("8");

    /// How many failure domains must have joined before objects are taken.
    min_nodes: Option<NodeCount>, &[Gateway, Worker], "N", Unset("what the scheme needs");

    /// How long a node may be away before its pieces count as missing and are
    /// made anew on others.
    ///
    /// Only time counts in which this process ran and most nodes were there. A
    /// short time repairs soon, and also what a node that merely restarts would
    /// have brought back.
    offline_after: Wait, &[Up, Gateway, Worker], "TIME", Value("4h");

    /// The redundancy scheme: required/repair/optimal/total pieces.
    ///
    /// A write uploads N pieces and is acknowledged when O are on disk; repair
    /// starts when no more than R are left; any K restore the data.
    scheme: Option<Scheme>, &[Up, Gateway, Worker], "K/R/O/N", Unset("fits the number of nodes");

    /// The certificate chain to serve S3 over TLS with, as a PEM file.
    ///
    /// Without it S3 is served over plain HTTP. The file is read again when it
    /// changes.
    tls_cert: Option<PathBuf>, &[Up, Gateway], "FILE", Unset("plain HTTP");

    /// The private key that belongs to the certificate, as a PEM file.
    tls_key: Option<PathBuf>, &[Up, Gateway], "FILE", Unset("plain HTTP");

    /// A file with the access key id of the root key pair, for secrets that are
    /// mounted.
    root_access_key_file: Option<PathBuf>, &[Up, Gateway], "FILE", Unset("the environment's, else the cluster's own");

    /// A file with the secret key of the root key pair.
    root_secret_key_file: Option<PathBuf>, &[Up, Gateway], "FILE", Unset("the environment's, else the cluster's own");

    /// The region that clients have to sign for.
    region: Region, &[Up, Gateway], "NAME", Value("us-east-1");

    /// Domains under which buckets are host names, separated by commas.
    ///
    /// With `s3.example.org`, a request to `photos.s3.example.org` means the
    /// bucket `photos`. Any other host means that the path names the bucket.
    domains: Domains, &[Up, Gateway], "NAME,…", Value("");

    /// The address for the operator's commands, besides the socket in the data
    /// directory.
    ///
    /// A gateway serves them there, for loopback or an internal network only:
    /// it is plain HTTP. `cairn token`, `cairn nodes` and `cairn status` reach
    /// it where they have no data directory, with the token in `admin.token`.
    admin: Option<Address>, &[Gateway, Worker, Operator], "HOST:PORT", Unset("the socket in the data directory");

    /// A file with the token that the operator's commands show at `admin`.
    admin_token_file: Option<PathBuf>, &[Operator], "FILE", Unset("admin.token in the data directory");

    /// The address and port for orchestrators and Prometheus: `/health/live`,
    /// `/health/ready` and `/metrics`.
    ///
    /// It is plain HTTP without a password, for loopback or an internal network:
    /// nothing there is a secret, but nothing there is for the public.
    observe: Option<Listen>, &[Up, Gateway, Worker, Node], "ADDR", Unset("none");

    /// What to log: a level for Cairn's own events, or directives.
    ///
    /// A level is one of error, warn, info, debug, trace and off; everything
    /// that is not Cairn's own is logged from warn on. Directives such as
    /// `cairn::node=debug,hyper=info` refine that. The S3 protocol library is
    /// never logged, because it prints signatures.
    log: LogFilter, &[Up, Gateway, Worker, Node], "LEVEL", Value("info");

    /// How to log: lines of text for people, or a JSON object per line.
    log_format: LogFormat, &[Up, Gateway, Worker, Node], "FORMAT", Value("text");

    /// Memory for the data of requests in flight, at least 32MiB. A request
    /// that finds it used up waits, and is then asked to slow down.
    memory: Memory, &[Up, Gateway, Worker], "SIZE", Value("128MiB");

    /// How much each local node may store.
    node_capacity: Option<ByteSize>, &[Up], "SIZE", Unset("an even share of the disk");

    /// The token that lets this node join a cluster. Needed once.
    join: Option<Join>, &[Node], "TOKEN", Unset("the cluster that the data directory belongs to");

    /// A file with the token, for secrets that are mounted. Where it is not there
    /// yet, or empty, it is waited for.
    join_file: Option<PathBuf>, &[Node], "FILE", Unset("none");

    /// A file with a token that nodes may join with. Where it is not there, a
    /// gateway makes a token of unlimited uses and puts it there.
    ///
    /// `cairn secrets create` makes one before anything runs.
    join_token_file: Option<PathBuf>, &[Gateway, Worker], "FILE", Unset("none: `cairn token create` makes tokens");

    /// How much this node may store. It is kept in the data directory.
    capacity: Option<Capacity>, &[Node], "SIZE", Unset("as before; at first nine tenths of what is free");

    /// What to say of this node to its operator, as `name=value`. May be given
    /// more than once.
    label: Labels, &[Node], "NAME=VALUE", Value("");

    /// How fast this node may send, and how fast it may receive.
    bandwidth: Option<ByteRate>, &[Node], "RATE", Unset("no limit");
}

/// The table, to look settings up by name.
struct Fields(&'static [Field]);

impl Fields {
    fn named(&self, name: &str) -> &'static Field {
        self.0.iter().find(|field| field.name == name).expect("the name comes from the same list")
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|field| field.name)
    }
}

impl Config {
    /// Composes the configuration: flag over environment over file over
    /// default.
    ///
    /// # Errors
    /// One sentence that names the value, where it came from and what is
    /// expected.
    pub fn load<C: Command>(
        flags: Flags<C>,
        file: Option<PathBuf>,
        environment: Environment,
    ) -> Result<Loaded, Failure> {
        let mut origins = Origins::default();
        let given = root::from_environment(&environment, &mut origins);
        let warnings = environment.warnings();
        let layers = Layers::new(flags.given(), file, environment)?;
        let mut config = Self::read(&layers, origins)?;
        let files = [config.root_access_key_file.clone(), config.root_secret_key_file.clone()];
        config.root = RootPair::of(given, files)?;
        config.check_tls()?;
        Ok(Loaded { config, warnings })
    }

    /// Where the value of this setting came from.
    pub fn origin(&self, name: &str) -> &Origin {
        self.origins.of(name)
    }

    /// Every setting with its value (null where unset) and its origin. The
    /// root key pair shows as `set` and never as itself.
    pub fn shown(&self) -> Vec<(&'static str, serde_json::Value, &Origin)> {
        let set = |name| if *self.origin(name) == Origin::Default { serde_json::Value::Null } else { "set".into() };
        let pair = [root::ACCESS_KEY, root::SECRET_KEY].map(|name| (name, set(name)));
        self.values().into_iter().chain(pair).map(|(name, value)| (name, value, self.origin(name))).collect()
    }

    /// What an unset value means, for people.
    pub fn meaning_of_unset(name: &str) -> &'static str {
        match FIELDS.0.iter().find(|field| field.name == name).map(|field| field.preset) {
            Some(Unset(meaning)) => meaning,
            Some(Value(_)) => "none",
            None => "from its file, else the cluster's own",
        }
    }

    fn check_tls(&self) -> Result<(), Failure> {
        let (given, missing) = match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => ("tls_cert", "tls_key"),
            (None, Some(_)) => ("tls_key", "tls_cert"),
            _ => return Ok(()),
        };
        Err(Failure::start(format!(
            "{given} is set ({}) but {missing} is not: TLS needs both the certificate and its private key",
            self.origin(given)
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(flags: Flags<AllCommands>, environment: &[(&str, &str)]) -> Result<Config, Failure> {
        Config::load(flags, None, Environment::from_pairs(environment)).map(|loaded| loaded.config)
    }

    #[test]
    fn every_default_is_a_value_that_would_be_accepted() {
        let config = load(Flags::default(), &[]).unwrap();
        assert_eq!(config.nodes.get(), 8);
        assert_eq!(config.memory.0.bytes(), 128 << 20);
        assert!(config.scheme.is_none() && config.root.is_none());
        assert!(config.shown().iter().all(|(_, _, origin)| **origin == Origin::Default));
    }

    #[test]
    fn every_setting_has_a_sentence_and_says_what_it_expects() {
        for field in FIELDS.0 {
            assert!(field.help().len() > 20 && !field.expected.is_empty(), "{}", field.name);
        }
    }

    #[test]
    fn half_of_tls_is_refused_by_name() {
        let failure = load(Flags::default(), &[("CAIRN_TLS_KEY", "/k.pem")]).unwrap_err().to_string();
        assert!(failure.contains("tls_key is set (environment CAIRN_TLS_KEY) but tls_cert is not"), "{failure}");
    }

    #[test]
    fn an_empty_value_takes_back_what_a_lower_layer_set() {
        let flags = Flags::of(&[("scheme", "")]);
        let config = load(flags, &[("CAIRN_SCHEME", "4/5/7/8")]).unwrap();
        assert!(config.scheme.is_none());
        assert_eq!(*config.origin("scheme"), Origin::Flag("scheme"));
    }
}
