//! Where each value came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The layer that a value was taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The flag of this setting.
    Flag(&'static str),
    /// The environment variable of this setting.
    Environment(&'static str),
    /// This configuration file.
    File(PathBuf),
    /// Nobody set it.
    Default,
}

impl Origin {
    /// One word for scripts.
    pub fn layer(&self) -> &'static str {
        match self {
            Self::Flag(_) => "flag",
            Self::Environment(_) => "environment",
            Self::File(_) => "file",
            Self::Default => "default",
        }
    }

    /// What within the layer: the flag, the variable or the file.
    pub fn place(&self) -> Option<String> {
        match self {
            Self::Flag(name) => Some(format!("--{}", name.replace('_', "-"))),
            Self::Environment(name) => Some(format!("CAIRN_{}", name.to_ascii_uppercase())),
            Self::File(path) => Some(path.display().to_string()),
            Self::Default => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place() {
            Some(place) => write!(f, "{} {place}", self.layer()),
            None => f.write_str(self.layer()),
        }
    }
}

/// The origin of every setting that is not a default.
#[derive(Debug, Clone, Default)]
pub struct Origins(BTreeMap<&'static str, Origin>);

impl Origins {
    /// Remembers an origin.
    pub(super) fn note(&mut self, name: &'static str, origin: Origin) {
        self.0.insert(name, origin);
    }

    /// The origin of a setting's value.
    pub fn of(&self, name: &str) -> &Origin {
        self.0.get(name).unwrap_or(&Origin::Default)
    }
}
