//! `cairn token`: the strings that let volunteers' nodes join.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::num::IntErrorKind;
use std::path::PathBuf;

use clap::Subcommand;

use super::operator::{Desk, Reach};
use super::text;
use super::{Failure, answer, say};
use crate::admin::{CreateToken, ListTokens, NewToken, RevokeToken, TokenList, TokenView};

/// Make, list and revoke the tokens that let nodes join.
///
/// A token names the cluster's doors and its key, so that a node knows whom to
/// dial and whom to trust. It is a secret until it is used up, expired or
/// revoked.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  A token for one node, good for a day, for a volunteer called alice:
    cairn token create --label owner=alice

  One for twenty nodes of a school, good for a month, which all fail together:
    cairn token create --uses 20 --expires 30d --label domain=school

  See which are still good, and take one back:
    cairn token list
    cairn token revoke 3f9c01aa")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(Create),
    List(List),
    Revoke(Revoke),
}

/// Make a token, and print it alone on stdout.
///
/// What the operator says of a node stands in its token: the labels `domain`
/// (what it would fail together with) and `owner` (who the token is given to)
/// decide where pieces go. The token itself is kept nowhere.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cairn token create
  cairn token create --label owner=alice --expires 7d
  cairn token create --uses unlimited --expires never --label domain=rack-7
  TOKEN=$(cairn token create) && ssh volunteer cairn node --join \"$TOKEN\" --data cairn-node --capacity 500GB")]
struct Create {
    /// How long it is good: a whole number and s, m, h, d or w, or `never`
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = expires)]
    expires: Expires,

    /// How many nodes may join with it, or `unlimited`
    #[arg(long, value_name = "N", default_value = "1", value_parser = uses)]
    uses: Uses,

    /// What is said of every node that joins with it; may be given more than once
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    label: Vec<(String, String)>,

    /// The door to dial, instead of those of the gateway; may be given more than once
    #[arg(long, value_name = "HOST:PORT")]
    door: Vec<String>,

    #[command(flatten)]
    reach: Reach,
}

/// List all tokens, the newest first.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cairn token list
  cairn token list --json | jq -r '.[] | select(.state == \"good\").id'")]
struct List {
    #[command(flatten)]
    reach: Reach,
}

/// Make a token worthless. Nodes that joined with it stay.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cairn token revoke 3f9c01aa")]
struct Revoke {
    /// The token's id, or a beginning of it that no other token has
    #[arg(value_name = "ID")]
    id: String,

    #[command(flatten)]
    reach: Reach,
}

/// Milliseconds, or for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Expires(Option<u64>);

/// So many nodes, or any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Uses(Option<u32>);

/// A whole number that is larger than any that makes sense.
struct TooLarge;

/// Reads a whole number; none if it is something else.
fn whole(text: &str) -> Option<Result<u32, TooLarge>> {
    match text.parse::<u32>() {
        Ok(number) => Some(Ok(number)),
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => Some(Err(TooLarge)),
        Err(_) => None,
    }
}

fn expires(text: &str) -> Result<Expires, String> {
    let expected = || "expected a whole number and s, m, h, d or w, such as 24h, or never".to_owned();
    if text == "never" {
        return Ok(Expires(None));
    }
    let unit = text.chars().last().ok_or_else(expected)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return Err(expected()),
    };
    let number: u32 = whole(&text[..text.len() - 1])
        .ok_or_else(expected)?
        .map_err(|TooLarge| format!("at most {} is possible, or never", u32::MAX))?;
    if number == 0 {
        return Err("a token that is never good is none".to_owned());
    }
    Ok(Expires(Some(u64::from(number) * seconds * 1000)))
}

fn uses(text: &str) -> Result<Uses, String> {
    match whole(text) {
        Some(Ok(0)) => Err("a token that no node may use is none".to_owned()),
        Some(Ok(number)) => Ok(Uses(Some(number))),
        Some(Err(TooLarge)) => Err(format!("at most {} is possible, or unlimited", u32::MAX)),
        None if text == "unlimited" => Ok(Uses(None)),
        None => Err("expected a whole number from 1 up, or unlimited".to_owned()),
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, such as owner=alice")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) fn command(arguments: Arguments, file: Option<PathBuf>) -> Result<(), Failure> {
    match arguments.command {
        Command::Create(create) => create.run(file),
        Command::List(List { reach }) => {
            let (json, desk) = open(reach, file)?;
            let list = desk.ask(&ListTokens {})?;
            answer(&if json { as_json(&list.tokens) } else { as_table(&list) })
        }
        Command::Revoke(Revoke { id, reach }) => {
            let (json, desk) = open(reach, file)?;
            let view = desk.ask(&RevokeToken { id })?;
            let said = format!("token {} is revoked{}\n", view.id, who_stays(view.used));
            answer(&if json { as_json(&view) } else { said })
        }
    }
}

fn who_stays(used: u32) -> String {
    match used {
        0 => String::new(),
        1 => "; the node that joined with it stays".to_owned(),
        used => format!("; the {used} nodes that joined with it stay"),
    }
}

fn open(reach: Reach, file: Option<PathBuf>) -> Result<(bool, Desk), Failure> {
    Ok((reach.json, reach.desk(file)?))
}

fn as_json(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_string_pretty(value).expect("structs of numbers and strings have a JSON form");
    format!("{text}\n")
}

impl Create {
    fn run(self, file: Option<PathBuf>) -> Result<(), Failure> {
        let mut labels = BTreeMap::new();
        for (name, value) in self.label {
            if labels.insert(name.clone(), value).is_some() {
                return Err(Failure::start(format!("the label '{name}' is given twice")));
            }
        }
        let (Expires(good_for_ms), Uses(uses)) = (self.expires, self.uses);
        let (json, desk) = open(self.reach, file)?;
        let made = desk.ask(&CreateToken { good_for_ms, uses, labels, doors: self.door })?;
        if json {
            return answer(&as_json(&made));
        }
        if io::stderr().is_terminal() {
            say(&for_people(&made));
        }
        answer(&format!("{}\n", made.token))
    }
}

fn for_people(made: &NewToken) -> String {
    let view = &made.view;
    let nodes = match view.uses {
        None => "any number of nodes".to_owned(),
        Some(1) => "one node".to_owned(),
        Some(uses) => format!("{uses} nodes"),
    };
    let time = match view.expires_ms {
        None => "for good".to_owned(),
        Some(expires) => format!("for {}", text::span((expires - view.created_ms).max(0) as u64 / 1000)),
    };
    format!(
        "token {} lets {nodes} join, {time}, by {}. On the volunteer's machine:\n  cairn node --join TOKEN --data DIR \
         --capacity 500GB\n",
        &view.id[..8],
        text::plain(&made.doors.join(", ")),
    )
}

fn as_table(list: &TokenList) -> String {
    if list.tokens.is_empty() {
        return "no tokens have been made yet: `cairn token create` makes one\n".to_owned();
    }
    let digits = text::short_ids(list.tokens.iter().map(|view| view.id.as_str()));
    let rows: Vec<Vec<String>> = list.tokens.iter().map(|view| row(view, digits, list.now_ms)).collect();
    text::table(&["ID", "STATE", "CREATED", "EXPIRES IN", "USES LEFT", "JOINED", "LABELS"], &rows)
}

fn row(view: &TokenView, digits: usize, now_ms: i64) -> Vec<String> {
    let expires = match view.expires_ms {
        None => "never".to_owned(),
        Some(expires) if expires <= now_ms => "-".to_owned(),
        Some(expires) => text::span(((expires - now_ms) as u64).div_ceil(1000)),
    };
    let left = view.uses.map_or_else(|| "unlimited".to_owned(), |uses| uses.saturating_sub(view.used).to_string());
    vec![
        view.id.chars().take(digits).collect(),
        view.state.name().to_owned(),
        text::ago(now_ms, Some(view.created_ms)),
        expires,
        left,
        view.used.to_string(),
        text::labels(&view.labels),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_uses_are_read_strictly() {
        assert_eq!(expires("24h"), Ok(Expires(Some(86_400_000))));
        assert_eq!(expires("30m"), Ok(Expires(Some(1_800_000))));
        assert_eq!((expires("2w"), expires("never")), (Ok(Expires(Some(1_209_600_000))), Ok(Expires(None))));
        for text in ["", "h", "24", "0h", "-1h", "1.5h", "24 h", "24H", "Never", "1é"] {
            assert!(expires(text).is_err(), "{text}");
        }
        assert_eq!((uses("3"), uses("unlimited")), (Ok(Uses(Some(3))), Ok(Uses(None))));
        for text in ["", "0", "-1", "many", "4294967296"] {
            assert!(uses(text).is_err(), "{text}");
        }
        for refusal in [expires("99999999999999d").unwrap_err(), uses("4294967296").unwrap_err()] {
            assert!(refusal.starts_with("at most 4294967295"), "{refusal}");
        }
        assert_eq!((who_stays(0).as_str(), who_stays(1).as_str()), ("", "; the node that joined with it stays"));
        assert_eq!(label("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(label("a").is_err());
    }
}
