//! The kinds of values that settings have: how each is read and shown.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tracing_subscriber::EnvFilter;

use super::ByteSize;
use super::root::Secret;
use crate::erasure::Scheme;
use crate::types::limits::{DOORS_MAX, LABEL_NAME_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX};
use crate::types::text::is_control_or_format;

/// A value that any layer can hold as text.
pub(super) trait Setting: Sized {
    /// What a person may write; stands after "expected:".
    const EXPECTED: &'static str;
    /// Whether the flag may be given more than once: commas join the values.
    const IS_LIST: bool = false;
    /// Reads the text; none if it is not what is expected.
    fn read(text: &str) -> Option<Self>;
    /// The value as `cairn config` shows it; null where nothing is set.
    fn json(&self) -> Value;
}

/// Nothing, written as an empty text, or a value.
impl<T: Setting> Setting for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    const IS_LIST: bool = T::IS_LIST;

    fn read(text: &str) -> Option<Self> {
        if text.is_empty() { Some(None) } else { T::read(text).map(Some) }
    }

    fn json(&self) -> Value {
        self.as_ref().map_or(Value::Null, Setting::json)
    }
}

impl Setting for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn read(text: &str) -> Option<Self> {
        (!text.is_empty() && !text.contains('\0')).then(|| text.into())
    }

    fn json(&self) -> Value {
        self.to_string_lossy().into()
    }
}

impl Setting for Scheme {
    const EXPECTED: &'static str = "four whole numbers K/R/O/N with 1 <= K <= R <= O <= N <= 256, such as 4/5/7/8";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn json(&self) -> Value {
        self.to_string().into()
    }
}

impl Setting for ByteSize {
    const EXPECTED: &'static str = "a whole number and a unit, such as 128MiB or 500GB";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|size: &Self| size.bytes() > 0)
    }

    fn json(&self) -> Value {
        self.to_string().into()
    }
}

impl Setting for bool {
    const EXPECTED: &'static str = "true or false";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn json(&self) -> Value {
        (*self).into()
    }
}

/// How long something may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait(pub Duration);

/// A day: whoever waits for longer waits for nothing.
const WAIT_MAX_S: u64 = 24 * 3600;

impl Setting for Wait {
    const EXPECTED: &'static str = "a whole number and s, m or h, at most a day, such as 60s";

    fn read(text: &str) -> Option<Self> {
        let units = [("s", 1), ("m", 60), ("h", 3600)];
        let (number, unit_s) = units.into_iter().find_map(|(unit, s)| Some((text.strip_suffix(unit)?, s)))?;
        let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = number.parse::<u64>().ok().filter(|_| plain)?.checked_mul(unit_s)?;
        (seconds <= WAIT_MAX_S).then(|| Self(Duration::from_secs(seconds)))
    }

    fn json(&self) -> Value {
        format!("{}s", self.0.as_secs()).into()
    }
}

/// An address to serve on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

impl Setting for Listen {
    const EXPECTED: &'static str = "an IP address and a port, such as 127.0.0.1:9000 or [::]:9000";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }

    fn json(&self) -> Value {
        self.0.to_string().into()
    }
}

/// How many local nodes: 1 to 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeCount(u16);

impl NodeCount {
    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl Setting for NodeCount {
    const EXPECTED: &'static str = "a whole number from 1 to 256";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|count| (1..=256).contains(count)).map(Self)
    }

    fn json(&self) -> Value {
        self.0.into()
    }
}

/// A region's name, as it stands in a signature's scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region(String);

impl Region {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for Region {
    const EXPECTED: &'static str = "a name of 1 to 64 lower-case letters, digits and hyphens";

    fn read(text: &str) -> Option<Self> {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ((1..=64).contains(&text.len()) && text.bytes().all(letter)).then(|| Self(text.to_owned()))
    }

    fn json(&self) -> Value {
        self.0.as_str().into()
    }
}

/// Host names under which buckets are host names, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domains(Vec<String>);

impl Domains {
    /// The names; may be none.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl Setting for Domains {
    const EXPECTED: &'static str = "a list of host names without ports, such as s3.example.org,s3.internal";
    const IS_LIST: bool = true;

    fn read(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(Vec::new()));
        }
        text.split(',').map(|name| host_name(name.trim())).collect::<Option<_>>().map(Self)
    }

    fn json(&self) -> Value {
        self.0.as_slice().into()
    }
}

fn host_name(name: &str) -> Option<String> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    (name.len() <= 253 && name.split('.').all(label)).then(|| name.to_ascii_lowercase())
}

/// A host, by name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for Address {
    const EXPECTED: &'static str = "a host and a port, such as cairn.example.org:9100 or [::1]:9100";

    fn read(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(Self(address.to_string()));
        }
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
        host_name(host).map(|host| Self(format!("{host}:{port}")))
    }

    fn json(&self) -> Value {
        self.0.as_str().into()
    }
}

/// Names of node doors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoorNames(Vec<String>);

impl DoorNames {
    /// What stands for the machine's own name, and for its own address.
    pub const PLACEHOLDERS: [&str; 2] = ["{hostname}", "{address}"];

    /// The names as `host:port`; may be none.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl Setting for DoorNames {
    const EXPECTED: &'static str = "a list of hosts with ports as others reach them (no 0.0.0.0, no [::]), such as cairn.example.org:9100 or {address}:9100";
    const IS_LIST: bool = true;

    fn read(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(Vec::new()));
        }
        let names = text.split(',').map(|name| door_or_template(name.trim()));
        names.collect::<Option<Vec<_>>>().filter(|names| names.len() <= DOORS_MAX).map(Self)
    }

    fn json(&self) -> Value {
        self.0.as_slice().into()
    }
}

/// A name of a node door, or what becomes one on its machine, as it was written.
fn door_or_template(name: &str) -> Option<String> {
    let filled = DoorNames::PLACEHOLDERS.into_iter().fold(name.to_owned(), |name, place| name.replace(place, "h"));
    let door = door_of(&filled)?;
    Some(if filled == name { door } else { name.to_owned() })
}

/// What stands for all addresses of a machine can be listened on and not be
/// dialled.
fn door_of(name: &str) -> Option<String> {
    let dialled = |name: &String| match name.parse::<SocketAddr>() {
        Ok(address) => !address.ip().is_unspecified() && address.port() > 0,
        Err(_) => true,
    };
    Some(Address::read(name)?.0).filter(dialled)
}

/// Reads the name of a node door, as `host:port`.
///
/// # Errors
/// What is expected, for people.
pub fn door(name: &str) -> Result<String, String> {
    door_of(name).ok_or_else(|| "expected HOST:PORT as nodes reach it, such as door.example.org:9100".to_owned())
}

/// Where the metadata is. An address may hold a password, so it is never shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// A file in the data directory.
    Sqlite,
    /// The text of a PostgreSQL's address, unread: its own errors say more.
    Postgres(Secret),
}

impl Setting for Database {
    const EXPECTED: &'static str = "sqlite, or an address like postgres://user:password@host:5432/database";

    fn read(text: &str) -> Option<Self> {
        let postgres = ["postgres://", "postgresql://", "host="].iter().any(|start| text.starts_with(start));
        match text {
            "sqlite" => Some(Self::Sqlite),
            _ => postgres.then(|| Self::Postgres(Secret::new(text.to_owned()))),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Sqlite => "sqlite".into(),
            Self::Postgres(_) => "postgres".into(),
        }
    }
}

/// A join token. It holds a secret, so it is never shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join(Secret);

impl Join {
    /// The token's text, unread: its own errors say more.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl Setting for Join {
    const EXPECTED: &'static str = "a token that `cairn token create` printed";

    fn read(text: &str) -> Option<Self> {
        Some(Self(Secret::new(text.to_owned())))
    }

    fn json(&self) -> Value {
        "set".into()
    }
}

/// Labels of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// Values by name; may be none.
    pub fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

impl Setting for Labels {
    const EXPECTED: &'static str = "name=value, such as region=eu-west, each once, without commas";
    const IS_LIST: bool = true;

    fn read(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(BTreeMap::new()));
        }
        let mut labels = BTreeMap::new();
        for pair in text.split(',') {
            let (name, value) = pair.trim().split_once('=')?;
            let fits = (1..=LABEL_NAME_BYTES_MAX).contains(&name.len()) && value.len() <= LABEL_VALUE_BYTES_MAX;
            let fits = fits && !pair.chars().any(is_control_or_format);
            if !fits || labels.insert(name.to_owned(), value.to_owned()).is_some() {
                return None;
            }
        }
        (labels.len() <= LABELS_MAX).then_some(Self(labels))
    }

    fn json(&self) -> Value {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().into()
    }
}

/// Bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRate(u64);

impl ByteRate {
    /// The number of bytes per second.
    pub const fn bytes_per_second(self) -> u64 {
        self.0
    }
}

/// The least rate with which a node is of any use.
const RATE_MIN: u64 = 1000;

impl Setting for ByteRate {
    const EXPECTED: &'static str = "a size per second of at least 1kB/s, such as 20MB/s";

    fn read(text: &str) -> Option<Self> {
        let size = ByteSize::read(text.strip_suffix("/s")?)?;
        (size.bytes() >= RATE_MIN).then(|| Self(size.bytes()))
    }

    fn json(&self) -> Value {
        format!("{}/s", ByteSize::from_bytes(self.0)).into()
    }
}

/// What to log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

/// Levels that may stand alone and then mean Cairn's own events.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

impl LogFilter {
    /// The filter's directives: warnings of everything, and what was asked for.
    pub fn directives(&self) -> String {
        if LEVELS.contains(&self.0.as_str()) {
            format!("warn,cairn={}", self.0)
        } else {
            format!("warn,cairn=info,{}", self.0)
        }
    }
}

impl Setting for LogFilter {
    const EXPECTED: &'static str = "error, warn, info, debug, trace, off or directives such as cairn::node=debug";

    fn read(text: &str) -> Option<Self> {
        let filter = Self(text.to_owned());
        let known = LEVELS.contains(&text) || text.split(',').all(|directive| directive.contains('='));
        (known && EnvFilter::try_new(filter.directives()).is_ok()).then_some(filter)
    }

    fn json(&self) -> Value {
        self.0.as_str().into()
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object per line, for collectors.
    Json,
}

impl Setting for LogFormat {
    const EXPECTED: &'static str = "text or json";

    fn read(text: &str) -> Option<Self> {
        match text {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Text => "text".into(),
            Self::Json => "json".into(),
        }
    }
}

/// The memory budget: enough for two segments of a small scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory(pub ByteSize);

/// Bytes of the smallest budget that two 8 MiB segments, with their parity,
/// can be in flight with.
const MEMORY_BYTES_MIN: u64 = 32 << 20;

impl Setting for Memory {
    const EXPECTED: &'static str = "a size of at least 32MiB, such as 128MiB or 1GiB";

    fn read(text: &str) -> Option<Self> {
        ByteSize::read(text).filter(|size| size.bytes() >= MEMORY_BYTES_MIN).map(Self)
    }

    fn json(&self) -> Value {
        self.0.json()
    }
}

/// What a node may store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity(ByteSize);

impl Capacity {
    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0.bytes()
    }
}

/// Bytes of the smallest node: as much as `cairn node` wants of a disk.
const CAPACITY_BYTES_MIN: u64 = 16 << 20;

impl Setting for Capacity {
    const EXPECTED: &'static str = "a size of at least 16MiB (16.8 MB), such as 500GB";

    fn read(text: &str) -> Option<Self> {
        ByteSize::read(text).filter(|size| size.bytes() >= CAPACITY_BYTES_MIN).map(Self)
    }

    fn json(&self) -> Value {
        self.0.json()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts<T: Setting>(good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(T::read(text).is_some(), "{text} should be accepted");
        }
        for text in bad {
            assert!(T::read(text).is_none(), "{text} should be refused");
        }
    }

    #[test]
    fn values_are_read_strictly() {
        accepts::<Listen>(
            &["127.0.0.1:0", "[::1]:80"],
            &["", "9000", ":9000", "localhost:9000", "1.2.3.4", "::1:80:x"],
        );
        accepts::<NodeCount>(&["1", "256"], &["", "0", "257", "-1", "8.0", "eight"]);
        accepts::<Region>(&["us-east-1", "x"], &["", "US", "a b", "a/b", &"r".repeat(65)]);
        accepts::<Domains>(&["", "a", "s3.Example.org, b"], &["a:80", ",", "a..b", "-a", "https://a", "a/b"]);
        accepts::<Address>(
            &["a.b:1", "1.2.3.4:80", "[::1]:9100"],
            &["", "a.b", "a.b:0", "a.b:65536", "::1:1:x", "a b:1"],
        );
        accepts::<DoorNames>(
            &["", "a:1", "a:1, [::1]:2", "10.0.0.1:9100"],
            &["a", "a:1,", "http://a:1", "0.0.0.0:9100", "a:1,[::]:9100", "10.0.0.1:0"],
        );
        accepts::<Labels>(&["", "a=b", "a=b, c=", "a=b=c"], &["a", "=b", "a=b,a=c", "a=b,", "a=\u{202e}b"]);
        accepts::<ByteRate>(&["1kB/s", "20MB/s"], &["", "20MB", "1B/s", "MB/s"]);
        accepts::<Capacity>(&["16MiB", "500GB"], &["5", "16MB", "0", "lots"]);
        accepts::<LogFormat>(&["text", "json"], &["", "TEXT", "xml"]);
        accepts::<Memory>(&["32MiB", "1GiB"], &["", "31MiB", "0", "lots"]);
        accepts::<Option<Scheme>>(
            &["", "4/5/7/8", "1/1/1/1"],
            &["4/5/7", "5/4/7/8", "0/1/1/1", "4/5/7/257", "a/b/c/d"],
        );
    }

    #[test]
    fn a_bare_level_means_cairns_own_events() {
        assert_eq!(LogFilter::read("debug").unwrap().directives(), "warn,cairn=debug");
        assert_eq!(LogFilter::read("hyper=info").unwrap().directives(), "warn,cairn=info,hyper=info");
        accepts::<LogFilter>(&["off", "cairn::node=trace"], &["", "loud", "debug,", "cairn=loud"]);
    }
}
