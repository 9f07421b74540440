//! Join tokens: made, listed and taken back. The secret is in the reply that
//! makes a token and nowhere else; the database keeps a digest.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use http::Method;
use serde::{Deserialize, Serialize};

use super::operator::{Command, Operator};
use super::prefix::find;
use super::{AdminError, ErrorKind};
use crate::metadata::{CreateToken, ListDoors, ListTokens, RevokeToken, TokenRow};
use crate::transfer::DOOR_FORGOTTEN_AFTER_MS;
use crate::types::TokenId;
use crate::types::limits::{
    DOOR_BYTES_MAX, DOORS_MAX, LABEL_NAME_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX, TOKEN_BYTES_MAX,
};
use crate::types::text::is_control_or_format;
use crate::wire::{Credential, JoinToken};

/// Makes a join token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// For how many milliseconds it is good; for good if null. Must be said.
    #[serde(deserialize_with = "Option::deserialize")]
    pub good_for_ms: Option<u64>,
    /// How many nodes may join with it; any number if null. Must be said.
    #[serde(deserialize_with = "Option::deserialize")]
    pub uses: Option<u32>,
    /// What is said of every node that joins with it.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Doors as `host:port` to use instead of those of the running gateway.
    #[serde(default)]
    pub doors: Vec<String>,
}

/// All tokens, the newest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {}

/// Makes a token worthless. Nodes that joined with it stay.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// The token's id, or a beginning of it that no other token has.
    pub id: String,
}

/// A token that was just made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewToken {
    /// What a volunteer pastes. A secret.
    pub token: String,
    /// The doors that it names.
    pub doors: Vec<String>,
    /// What is kept of it.
    #[serde(flatten)]
    pub view: TokenView,
}

/// All tokens.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenList {
    /// When this was answered, in milliseconds since 1970.
    pub now_ms: i64,
    /// The tokens, the newest first.
    pub tokens: Vec<TokenView>,
}

/// A token as the operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenView {
    /// Its id: 32 hexadecimal digits, no secret.
    pub id: String,
    /// Whether a node could join with it now.
    pub state: TokenState,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
    /// When it stops being good, if ever.
    pub expires_ms: Option<i64>,
    /// When it was revoked.
    pub revoked_ms: Option<i64>,
    /// How many nodes may join with it; any number if null.
    pub uses: Option<u32>,
    /// How many have.
    pub used: u32,
    /// What is said of every node that joins with it.
    pub labels: BTreeMap<String, String>,
}

/// Whether a node could join with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenState {
    /// It could.
    Good,
    /// Its time is over.
    Expired,
    /// As many nodes have joined as may.
    Used,
    /// The operator has taken it back.
    Revoked,
    /// A state that a later version knows.
    #[serde(other)]
    Other,
}

impl TokenState {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Expired => "expired",
            Self::Used => "used",
            Self::Revoked => "revoked",
            Self::Other => "unknown",
        }
    }

    fn of(row: &TokenRow, now_ms: i64) -> Self {
        match row {
            TokenRow { revoked: Some(_), .. } => Self::Revoked,
            TokenRow { uses: Some(uses), used, .. } if used >= uses => Self::Used,
            TokenRow { expires: Some(expires), .. } if expires.0 <= now_ms => Self::Expired,
            _ => Self::Good,
        }
    }
}

impl TokenView {
    fn of(row: TokenRow, now_ms: i64) -> Self {
        Self {
            id: row.token.to_string(),
            state: TokenState::of(&row, now_ms),
            created_ms: row.created.0,
            expires_ms: row.expires.map(|time| time.0),
            revoked_ms: row.revoked.map(|time| time.0),
            uses: row.uses,
            used: row.used,
            labels: row.labels,
        }
    }
}

impl Command for Create {
    const METHOD: Method = Method::POST;
    const PATH: &'static str = "/v1/tokens/create";
    type Reply = NewToken;

    async fn run(&self, operator: &Operator) -> Result<NewToken, AdminError> {
        self.check()?;
        let doors = doors(operator, &self.doors).await?;
        let env = &operator.parts.env;
        let credential = Credential { id: TokenId::from_bytes(env.random()), secret: env.random() };
        let cluster = operator.parts.cluster;
        let mut token =
            JoinToken { doors, cluster, credential, expires_ms: Some(0), uses: self.uses, labels: self.labels.clone() };
        // What a node would refuse to read must not be made good first.
        if token.to_string().len() + 16 > TOKEN_BYTES_MAX {
            return Err(AdminError::invalid(format!(
                "with these labels and doors the token would be longer than {TOKEN_BYTES_MAX} characters: use fewer"
            )));
        }
        let create = CreateToken {
            token: credential.id,
            secret_digest: credential.secret_digest(),
            good_for_ms: self.good_for_ms,
            uses: self.uses,
            labels: self.labels.clone(),
        };
        let row = operator.metadata().write(create).await?;
        token.expires_ms = row.expires.map(|time| time.0);
        tracing::info!(token = %row.token, "a join token was made");
        let view = TokenView::of(row, operator.now_ms());
        Ok(NewToken { token: token.to_string(), doors: token.doors, view })
    }
}

impl Create {
    fn check(&self) -> Result<(), AdminError> {
        if self.uses == Some(0) {
            return Err(AdminError::invalid("a token that no node may use is none: uses must be at least 1"));
        }
        // Sooner than anybody can paste it, or beyond what the database's clock can say.
        let range = 1000..=i64::MAX as u64 / 4;
        if self.good_for_ms.is_some_and(|time| !range.contains(&time)) {
            return Err(AdminError::invalid("a token must be good for at least a second; null means for good"));
        }
        check_labels(&self.labels)?;
        if self.doors.len() > DOORS_MAX {
            return Err(AdminError::invalid(format!("a token names at most {DOORS_MAX} doors")));
        }
        match self.doors.iter().find(|door| !is_door(door)) {
            Some(door) => Err(AdminError::invalid(format!(
                "'{}' is no door: write HOST:PORT as volunteers reach it, such as door.example.org:9100",
                door.escape_default()
            ))),
            None => Ok(()),
        }
    }
}

fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), AdminError> {
    if labels.len() > LABELS_MAX {
        return Err(AdminError::invalid(format!("at most {LABELS_MAX} labels")));
    }
    for (name, value) in labels {
        let common = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
        if name.is_empty() || name.len() > LABEL_NAME_BYTES_MAX || !name.bytes().all(common) {
            return Err(AdminError::invalid(format!(
                "'{}' is no label's name: 1 to {LABEL_NAME_BYTES_MAX} letters, digits, '-', '_', '.' and '/'",
                name.escape_default()
            )));
        }
        if value.len() > LABEL_VALUE_BYTES_MAX || value.chars().any(is_control_or_format) {
            return Err(AdminError::invalid(format!(
                "the value of label '{name}' must have at most {LABEL_VALUE_BYTES_MAX} bytes and no control characters"
            )));
        }
    }
    Ok(())
}

/// `host:port`, where the host is a name, an IPv4 address or an IPv6 address
/// in brackets; none that stands for all of a machine's addresses, since that
/// can be listened on and not be dialled.
fn is_door(door: &str) -> bool {
    let Some((host, port)) = door.rsplit_once(':') else { return false };
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host_fits = match bracketed {
        Some(address) => address.parse::<Ipv6Addr>().is_ok_and(|address| !address.is_unspecified()),
        None if host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_unspecified()) => false,
        None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
    };
    let port_fits = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    door.len() <= DOOR_BYTES_MAX && host_fits && port_fits
}

/// The doors that a token names: those that were asked for, or those of this
/// process and then of the cluster's others.
async fn doors(operator: &Operator, asked: &[String]) -> Result<Vec<String>, AdminError> {
    let running = operator.live().is_some();
    let mut doors = if asked.is_empty() { operator.parts.doors.clone() } else { asked.to_vec() };
    if asked.is_empty() && (!running || !doors.is_empty()) {
        // Where no process runs, the last that did are the best that is known.
        let within_ms = if running { DOOR_FORGOTTEN_AFTER_MS } else { u64::MAX };
        doors.extend(operator.metadata().read(ListDoors { within_ms }).await?);
    }
    let mut named = BTreeSet::new();
    doors.retain(|door| named.insert(door.clone()));
    doors.truncate(DOORS_MAX);
    match (doors.is_empty(), running) {
        (false, _) => Ok(doors),
        (true, true) => Err(AdminError::refused(
            "this process has no door that other machines can reach, so nobody could join with a token: serve with \
             `cairn gateway --node-door ADDR --door-name HOST:PORT` (`cairn up` keeps to itself), or name a door with \
             --door HOST:PORT",
        )),
        (true, false) => Err(AdminError::refused(
            "no gateway is running and none has left the address of its door: start it with \
             `cairn gateway --node-door ADDR --door-name HOST:PORT`, or name the door with --door HOST:PORT",
        )),
    }
}

impl Command for List {
    const METHOD: Method = Method::GET;
    const PATH: &'static str = "/v1/tokens";
    type Reply = TokenList;

    async fn run(&self, operator: &Operator) -> Result<TokenList, AdminError> {
        let now_ms = operator.now_ms();
        let rows = operator.metadata().read(ListTokens).await?;
        Ok(TokenList { now_ms, tokens: rows.into_iter().map(|row| TokenView::of(row, now_ms)).collect() })
    }
}

impl Command for Revoke {
    const METHOD: Method = Method::POST;
    const PATH: &'static str = "/v1/tokens/revoke";
    type Reply = TokenView;

    async fn run(&self, operator: &Operator) -> Result<TokenView, AdminError> {
        let rows = operator.metadata().read(ListTokens).await?;
        let found = find("token", &self.id, rows.iter().map(|row| (row.token.to_string(), row.token)))?;
        operator.metadata().write(RevokeToken { token: found }).await?;
        let now_ms = operator.now_ms();
        let rows = operator.metadata().read(ListTokens).await?;
        let row = rows.into_iter().find(|row| row.token == found);
        let row = row.ok_or_else(|| AdminError::new(ErrorKind::NotFound, format!("there is no token {found}")))?;
        tracing::info!(token = %found, "a join token was revoked");
        Ok(TokenView::of(row, now_ms))
    }
}
