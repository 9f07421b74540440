//! `cairn config`: the effective values, and where each came from.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::settings::{AllCommands, Config, Environment, Flags, Origin, reference};
use super::{Failure, answer, say};

/// Print the effective configuration and where each value came from.
///
/// The output is a configuration file by itself. Secrets show as set, never as
/// themselves.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// As one JSON object: {"nodes": {"value": 8, "source": "default", "place": null}, …}
    #[arg(long)]
    json: bool,

    /// Print the reference of all settings as Markdown instead
    #[arg(long, conflicts_with = "json")]
    reference: bool,

    #[command(flatten)]
    flags: Flags<AllCommands>,
}

pub(super) fn command(arguments: Arguments, file: Option<PathBuf>) -> Result<(), Failure> {
    if arguments.reference {
        return answer(&reference());
    }
    let loaded = Config::load(arguments.flags, file, Environment::of_process()?)?;
    loaded.warnings.iter().for_each(|warning| say(&format!("cairn: warning: {warning}")));
    answer(&if arguments.json { as_json(&loaded.config) } else { as_toml(&loaded.config) })
}

fn as_json(config: &Config) -> String {
    let entry = |(name, value, origin): (&str, Value, &Origin)| {
        (name.to_owned(), json!({ "value": value, "source": origin.layer(), "place": origin.place() }))
    };
    format!("{:#}\n", Value::Object(config.shown().into_iter().map(entry).collect::<Map<_, _>>()))
}

fn as_toml(config: &Config) -> String {
    let lines: Vec<(String, &Origin)> =
        config.shown().into_iter().map(|(name, value, origin)| (assignment(name, &value), origin)).collect();
    let width = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or(0);
    lines.iter().map(|(line, origin)| format!("{line:width$}  # {origin}\n")).collect()
}

/// JSON's texts, numbers and lists of texts are TOML's. What cannot stand in a
/// file (nothing at all, or a secret) becomes a comment.
fn assignment(name: &str, value: &Value) -> String {
    match value {
        Value::Null => format!("# {name} is not set: {}", Config::meaning_of_unset(name)),
        _ if ["root_access_key", "root_secret_key", "join"].contains(&name) => format!("# {name} is set"),
        value => format!("{name} = {value}"),
    }
}
