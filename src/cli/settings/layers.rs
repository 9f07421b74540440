//! Flag over environment over file over default: the first layer that holds a
//! value wins.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::file::File;
use super::nearest::nearest;
use super::values::Setting;
use super::{Config, FIELDS, Failure, Field, Origin, Origins, root};

/// A configuration, and what its owner should hear about it.
#[derive(Debug)]
pub struct Loaded {
    /// The effective values.
    pub config: Config,
    /// Sentences about what was ignored.
    pub warnings: Vec<String>,
}

/// The variable that names the configuration file.
const FILE_VARIABLE: &str = "CAIRN_CONFIG";
/// The configuration file that nobody has to name: where a ConfigMap or a Swarm
/// config is mounted.
const DEFAULT_FILE: &str = "/etc/cairn/cairn.toml";
/// The variable that holds the admin token itself: a secret stands in no flag.
const ADMIN_TOKEN_VARIABLE: &str = "CAIRN_ADMIN_TOKEN";

/// The `CAIRN_*` variables of a process. An empty one counts as not set,
/// because that is what a template with nothing to fill in leaves behind.
#[derive(Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process.
    ///
    /// # Errors
    /// A `CAIRN_*` variable that is not UTF-8.
    pub fn of_process() -> Result<Self, Failure> {
        let ours = |name: &OsString| name.to_string_lossy().starts_with("CAIRN_");
        let variables = std::env::vars_os().filter(|(name, _)| ours(name));
        variables.map(|(name, value)| Ok((name.to_string_lossy().into_owned(), utf8(&name, value)?))).collect()
    }

    /// The value of a setting's variable.
    pub(super) fn value(&self, setting: &str) -> Option<&str> {
        self.get(&format!("CAIRN_{}", setting.to_ascii_uppercase()))
    }

    /// The admin token, for operator's commands that go to an address.
    pub(in crate::cli) fn admin_token(&self) -> Option<&str> {
        self.get(ADMIN_TOKEN_VARIABLE)
    }

    fn get(&self, variable: &str) -> Option<&str> {
        self.0.get(variable).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A sentence for each variable that means nothing.
    pub(super) fn warnings(&self) -> Vec<String> {
        let known: Vec<String> = known_variables();
        let unknown = self.0.keys().filter(|name| !known.contains(name) && !made_by_kubernetes(name));
        unknown.map(|name| unknown_variable(name, &known)).collect()
    }

    #[cfg(test)]
    pub(super) fn from_pairs(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(pairs: T) -> Self {
        Self(pairs.into_iter().collect())
    }
}

/// The file that nobody has to name, if it is there. One that cannot be looked
/// at is there.
fn default_file() -> Option<PathBuf> {
    let absent = [ErrorKind::NotFound, ErrorKind::NotADirectory];
    let found = std::fs::metadata(DEFAULT_FILE);
    found.map_or_else(|error| !absent.contains(&error.kind()), |_| true).then(|| DEFAULT_FILE.into())
}

fn utf8(name: &OsString, value: OsString) -> Result<String, Failure> {
    let refuse = |_| Failure::start(format!("the environment variable {} is not UTF-8", name.display()));
    value.into_string().map_err(refuse)
}

fn known_variables() -> Vec<String> {
    let settings = FIELDS.0.iter().map(Field::variable);
    let root = [root::ACCESS_KEY, root::SECRET_KEY].map(|name| format!("CAIRN_{}", name.to_ascii_uppercase()));
    settings.chain(root).chain([FILE_VARIABLE, ADMIN_TOKEN_VARIABLE].map(str::to_owned)).collect()
}

/// Kubernetes describes a Service named `cairn…` to every pod beside it.
fn made_by_kubernetes(variable: &str) -> bool {
    variable.ends_with("_SERVICE_HOST")
        || variable.contains("_SERVICE_PORT")
        || variable.ends_with("_PORT")
        || variable.contains("_PORT_")
}

fn unknown_variable(name: &str, known: &[String]) -> String {
    match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("the environment variable {name} means nothing: did you mean {near}?"),
        None => format!("the environment variable {name} means nothing and is ignored"),
    }
}

/// The layers above the defaults.
pub(super) struct Layers {
    flags: BTreeMap<&'static str, String>,
    environment: Environment,
    file: Option<File>,
}

impl Layers {
    pub(super) fn new(
        flags: BTreeMap<&'static str, String>,
        file: Option<PathBuf>,
        environment: Environment,
    ) -> Result<Self, Failure> {
        let path = file.or_else(|| environment.get(FILE_VARIABLE).map(PathBuf::from)).or_else(default_file);
        let file = path.map(File::read).transpose()?;
        Ok(Self { flags, environment, file })
    }

    /// The value of a setting from the highest layer that holds it.
    pub(super) fn read<T: Setting>(&self, field: &'static Field, origins: &mut Origins) -> Result<T, Failure> {
        let (text, origin) = self.text(field);
        let value = T::read(text).ok_or_else(|| refused(field, text, &origin))?;
        origins.note(field.name, origin);
        Ok(value)
    }

    fn text(&self, field: &Field) -> (&str, Origin) {
        if let Some(text) = self.flags.get(field.name) {
            return (text, Origin::Flag(field.name));
        }
        if let Some(text) = self.environment.value(field.name) {
            return (text, Origin::Environment(field.name));
        }
        match self.file.as_ref().and_then(|file| Some((file.value(field.name)?, file.path()))) {
            Some((text, path)) => (text, Origin::File(path.to_owned())),
            None => (field.preset.text(), Origin::Default),
        }
    }
}

fn refused(field: &Field, text: &str, origin: &Origin) -> Failure {
    Failure::start(format!("{} is '{text}' ({origin}); expected: {}", field.name, field.expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_variables_are_named_with_what_was_meant() {
        let environment = Environment::from_pairs(&[
            ("CAIRN_NODE", "3"),
            ("CAIRN_QWERTY", "1"),
            ("CAIRN_REGION", "x"),
            ("CAIRN_CONFIG", ""),
            ("CAIRN_SERVICE_HOST", "10.0.0.1"),
            ("CAIRN_PORT_9000_TCP_ADDR", "10.0.0.1"),
        ]);
        assert_eq!(
            environment.warnings(),
            [
                "the environment variable CAIRN_NODE means nothing: did you mean CAIRN_NODES?",
                "the environment variable CAIRN_QWERTY means nothing and is ignored",
            ]
        );
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        let environment = Environment::from_pairs(&[("CAIRN_REGION", "")]);
        assert_eq!(environment.value("region"), None);
    }
}
