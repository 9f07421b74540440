//! Where a PostgreSQL is: an address as libpq's users write it, without ever
//! showing what it holds in secret.
//!
//! `postgres://user:password@host:port,host/database?option=value` or
//! `host=… user=… option=value`. Known options are libpq's `host hostaddr port
//! user password dbname options application_name connect_timeout
//! tcp_user_timeout keepalives keepalives_idle keepalives_interval
//! keepalives_retries target_session_attrs channel_binding load_balance_hosts
//! sslnegotiation sslmode sslrootcert`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use super::super::tx::MetadataError;

/// How far a server's certificate is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verify {
    /// Not at all: the line is encrypted, to whomever.
    Nothing,
    /// It is signed by the authority.
    Authority,
    /// It is, and it is for the host's name.
    Name,
}

/// The address of a PostgreSQL and how to get in. Shows neither password nor
/// options when it is printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresAddress {
    pub(super) config: Config,
    pub(super) verify: Verify,
    pub(super) authority: Option<PathBuf>,
}

const SECOND: Duration = Duration::from_secs(1);
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// Options of libpq that people may expect here.
const NOT_SUPPORTED: &[&str] = &[
    "gssencmode",
    "krbsrvname",
    "passfile",
    "require_auth",
    "requirepeer",
    "requiressl",
    "service",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslkey",
    "sslpassword",
    "sslsni",
];

fn unusable(message: impl Into<String>) -> MetadataError {
    MetadataError::Unusable(message.into())
}

impl PostgresAddress {
    /// Reads an address. What is wrong with it is said without quoting it,
    /// since a password may be where nobody expects one.
    pub fn parse(text: &str) -> Result<Self, MetadataError> {
        let (rest, ours) = match SCHEMES.iter().any(|scheme| text.starts_with(scheme)) {
            true => split_url(text),
            false => split_pairs(text).ok_or_else(|| unusable(UNREADABLE))?,
        };
        if let Some(name) = ours.unsupported {
            return Err(unusable(format!(
                "the address of the PostgreSQL database has the option {name}, which is not supported"
            )));
        }
        let mut config: Config = rest.parse().map_err(|_| unusable(UNREADABLE))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(unusable("the address of the PostgreSQL database names no host"));
        }
        let (mode, verify) = ours.mode()?;
        config.ssl_mode(mode);
        let authority = ours.rootcert.map(PathBuf::from);
        // As in libpq: an authority that is named is not ignored.
        let verify =
            if authority.is_some() && mode == SslMode::Require { verify.max(Verify::Authority) } else { verify };
        if verify != Verify::Nothing && authority.is_none() {
            return Err(unusable(
                "sslmode=verify-ca and sslmode=verify-full need sslrootcert=FILE (or sslrootcert=system) \
                 in the address of the PostgreSQL database",
            ));
        }
        if config.get_application_name().is_none() {
            config.application_name("cairn");
        }
        // Of several, one that is no replica.
        if config.get_hosts().len().max(config.get_hostaddrs().len()) > 1 {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        Ok(Self { config, verify, authority })
    }

    /// Connections give up after this, unless the address says otherwise.
    pub(super) fn set_default_timeouts(&mut self, connect: Duration, silent: Duration) {
        if self.config.get_connect_timeout().is_none() {
            self.config.connect_timeout(connect);
        }
        if self.config.get_tcp_user_timeout().is_none() {
            self.config.tcp_user_timeout(silent);
        }
        // The kernel counts in whole seconds.
        let (idle, interval) = (silent.max(SECOND), (silent / 4).max(SECOND));
        self.config.keepalives_idle(idle).keepalives_interval(interval).keepalives_retries(3);
    }
}

impl Ord for Verify {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (*self as u8).cmp(&(*other as u8))
    }
}

impl PartialOrd for Verify {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

const UNREADABLE: &str = "the address of the PostgreSQL database cannot be read: \
                          it looks like postgres://user:password@host:5432/database?sslmode=require, \
                          where special characters of the password are percent-encoded";

/// Options that the driver does not know.
#[derive(Default)]
struct Ours {
    sslmode: Option<String>,
    rootcert: Option<String>,
    unsupported: Option<&'static str>,
}

impl Ours {
    /// Whether the option was one of these.
    fn take(&mut self, name: &str, value: &str) -> bool {
        match name {
            "sslmode" => self.sslmode = Some(value.to_owned()),
            "sslrootcert" => self.rootcert = Some(value.to_owned()),
            _ => {
                let known = NOT_SUPPORTED.iter().find(|known| **known == name);
                self.unsupported = self.unsupported.or(known.copied());
                return known.is_some();
            }
        }
        true
    }

    fn mode(&self) -> Result<(SslMode, Verify), MetadataError> {
        Ok(match self.sslmode.as_deref() {
            Some("disable") => (SslMode::Disable, Verify::Nothing),
            None | Some("prefer") => (SslMode::Prefer, Verify::Nothing),
            Some("require") => (SslMode::Require, Verify::Nothing),
            Some("verify-ca") => (SslMode::Require, Verify::Authority),
            Some("verify-full") => (SslMode::Require, Verify::Name),
            Some(_) => {
                return Err(unusable("sslmode is one of disable, prefer, require, verify-ca and verify-full"));
            }
        })
    }
}

/// Takes our options out of a URL's query, which begins after the login, as
/// the driver sees it.
fn split_url(text: &str) -> (String, Ours) {
    let login = text.find('@').unwrap_or(0);
    let Some(at) = text[login..].find('?').map(|at| login + at) else { return (text.to_owned(), Ours::default()) };
    let mut ours = Ours::default();
    let others: Vec<&str> = text[at + 1..]
        .split('&')
        .filter(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            !ours.take(name, &percent_encoding::percent_decode_str(value).decode_utf8_lossy())
        })
        .collect();
    (format!("{}?{}", &text[..at], others.join("&")).trim_end_matches('?').to_owned(), ours)
}

/// Takes our options out of `name=value` pairs.
fn split_pairs(text: &str) -> Option<(String, Ours)> {
    let (mut ours, mut others, mut rest) = (Ours::default(), String::new(), text.trim());
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, length) = pair_value(after)?;
        if !ours.take(name.trim(), &value) {
            others += &format!("{}={} ", name.trim(), &after[..length]);
        }
        rest = after[length..].trim_start();
    }
    Some((others, ours))
}

/// A value, in quotes or up to a space, and how long it stands in the text.
fn pair_value(text: &str) -> Option<(String, usize)> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut characters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.push(characters.next()?.1),
            '\'' if quoted => return Some((value, at + 1)),
            other if !quoted && other.is_whitespace() => return Some((value, at)),
            other => value.push(other),
        }
    }
    (!quoted).then_some((value, text.len()))
}

impl fmt::Display for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, host) in self.config.get_hosts().iter().enumerate() {
            let port = self.config.get_ports().get(at).or(self.config.get_ports().first()).copied().unwrap_or(5432);
            let comma = if at == 0 { "" } else { "," };
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}:{port}")?,
                Host::Unix(folder) => write!(f, "{comma}{}:{port}", folder.display())?,
            }
        }
        write!(f, "/{}", self.config.get_dbname().or(self.config.get_user()).unwrap_or("postgres"))
    }
}

impl fmt::Debug for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresAddress({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> PostgresAddress {
        PostgresAddress::parse(text).unwrap()
    }

    #[test]
    fn addresses_are_read() {
        let url = "postgres://me:pa%3Fss@a:1,b:2/db?sslmode=verify-full&target_session_attrs=read-write&sslrootcert=%2Fca.pem";
        let pairs = "host=a,b port=1,2 user=me password='pa?ss' dbname=db sslmode = 'verify-full' \
                     target_session_attrs=read-write sslrootcert=/ca.pem";
        assert!(parse(url) == parse(pairs));
        let address = parse(url);
        assert_eq!((address.verify, address.config.get_password()), (Verify::Name, Some(&b"pa?ss"[..])));
        assert_eq!(address.authority, Some(PathBuf::from("/ca.pem")));
        assert_eq!(address.to_string(), "a:1,b:2/db");
        assert_eq!(parse("host=a,b user=me").config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        assert_eq!(parse("postgres://me@%2Frun%2Fpostgresql/db").to_string(), "/run/postgresql:5432/db");
        assert_eq!(parse("postgres://a/db?sslmode=require&sslrootcert=c").verify, Verify::Authority);
        assert_eq!(parse("postgres://a/db?sslmode=prefer&sslrootcert=c").verify, Verify::Nothing);
    }

    #[test]
    fn nothing_secret_is_shown() {
        for text in [
            "postgres://me:hunter2@a:b:c/db",
            "postgres://me:x@hunter2@a/db?sslmode=hunter2",
            "postgres://me:x?hunter2=1@a/db?hunter2=1",
            "postgres://a/db?hunter2=1",
            "host=a password='hunter2",
            "hunter2",
            "password=hunter2",
            "postgres://me:hunter2@a/db?sslcert=hunter2",
            "postgres://me:hunter2@a/db?sslmode=verify-full",
        ] {
            let error = PostgresAddress::parse(text).unwrap_err();
            assert!(
                matches!(error, MetadataError::Unusable(_)) && !format!("{error} {error:?}").contains("hunter2"),
                "{error}"
            );
        }
        let address = parse("postgres://me:hunter2@a/db?options=-chunter2");
        assert!(!format!("{address} {address:?}").contains("hunter2"));
    }
}
