//! The configuration file: a flat TOML table of settings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::nearest::nearest;
use super::values::Setting;
use super::{FIELDS, Failure, root};

/// A file's values as text, to be read like any other layer's.
pub(super) struct File {
    path: PathBuf,
    values: BTreeMap<String, String>,
}

impl File {
    /// Reads the file and refuses keys that are not settings.
    pub(super) fn read(path: PathBuf) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Failure::io("the configuration file could not be read", &path, &error))?;
        let table = text.parse::<Table>().map_err(|error| not_toml(&path, &text, &error))?;
        let values = table.into_iter().map(|(key, value)| entry(&path, key, &value)).collect::<Result<_, _>>()?;
        Ok(Self { path, values })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }
}

fn not_toml(path: &Path, text: &str, error: &toml::de::Error) -> Failure {
    let line = error.span().map_or(1, |span| 1 + text.get(..span.start).unwrap_or("").matches('\n').count());
    // The parser's sentence may go on over several lines.
    let message = error.message().lines().collect::<Vec<_>>().join("; ");
    Failure::start(format!("the configuration file {} is not TOML: line {line}: {message}", path.display()))
}

fn entry(path: &Path, key: String, value: &Value) -> Result<(String, String), Failure> {
    if !FIELDS.names().any(|name| name == key) {
        return Err(unknown(path, &key));
    }
    match plain(value, FIELDS.named(&key).expected == bool::EXPECTED) {
        Some(text) => Ok((key, text)),
        None => Err(Failure::start(format!(
            "{key} is {} (file {}); expected: {}",
            kind(value),
            path.display(),
            FIELDS.named(&key).expected
        ))),
    }
}

fn unknown(path: &Path, key: &str) -> Failure {
    let file = path.display();
    if [root::ACCESS_KEY, root::SECRET_KEY].contains(&key) {
        let variable = key.to_ascii_uppercase();
        return Failure::start(format!(
            "{key} may not stand in the configuration file {file}: set the environment variable CAIRN_{variable}"
        ));
    }
    let hint = match nearest(key, FIELDS.names()) {
        Some(near) => format!("did you mean '{near}'?"),
        None => "`cairn config --reference` lists those that there are".to_owned(),
    };
    Failure::start(format!("the configuration file {file} has the unknown key '{key}': {hint}"))
}

/// Text, a number, a list of texts, or for a switch true or false; none for
/// anything else.
fn plain(value: &Value, is_switch: bool) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(yes) if is_switch => Some(yes.to_string()),
        Value::Array(items) => Some(items.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?.join(",")),
        _ => None,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Table(_) => "a table",
        Value::Array(_) => "a list of other things than text",
        Value::Boolean(_) => "true or false",
        Value::Float(_) => "a fraction",
        Value::Datetime(_) => "a date",
        Value::String(_) | Value::Integer(_) => "another kind of value",
    }
}
