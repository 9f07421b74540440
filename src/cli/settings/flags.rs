//! The settings as flags, unread: every layer is read in the same way. A
//! command has the flags of the settings that it acts on.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::LazyLock;

use clap::{Arg, ArgAction, ArgMatches, Args, Error, FromArgMatches};

use super::{FIELDS, Field, For};

/// A command that has settings.
pub trait Command: Debug + Clone + Default + Send + Sync + 'static {
    /// Whether it acts on this setting.
    #[doc(hidden)]
    fn has(setting: &str) -> bool;
}

macro_rules! commands {
    ($( $(#[doc = $doc:literal])+ $name:ident = $command:expr; )+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Debug, Clone, Default)]
            pub struct $name;

            impl Command for $name {
                fn has(setting: &str) -> bool {
                    let command: Option<For> = $command;
                    command.is_none_or(|command| FIELDS.named(setting).commands.contains(&command))
                }
            }
        )+
    };
}

commands! {
    /// `cairn up`.
    UpCommand = Some(For::Up);
    /// `cairn gateway`.
    GatewayCommand = Some(For::Gateway);
    /// `cairn worker`.
    WorkerCommand = Some(For::Worker);
    /// `cairn node`.
    NodeCommand = Some(For::Node);
    /// `cairn token`, `cairn nodes` and `cairn status`.
    OperatorCommand = Some(For::Operator);
    /// `cairn config`, which shows what would hold for any of them.
    AllCommands = None;
}

/// `cairn health`, `cairn node status` and `cairn node leave`, which act on the
/// data directory alone.
#[derive(Debug, Clone, Default)]
pub struct DataCommand;

impl Command for DataCommand {
    fn has(setting: &str) -> bool {
        setting == "data"
    }
}

/// The flags of a command that were given, by setting.
#[derive(Debug, Clone, Default)]
pub struct Flags<C> {
    given: BTreeMap<&'static str, String>,
    command: PhantomData<C>,
}

impl<C: Command> Flags<C> {
    /// The flags that were given, by setting.
    pub(super) fn given(self) -> BTreeMap<&'static str, String> {
        self.given
    }

    #[cfg(test)]
    pub(super) fn of(given: &[(&'static str, &str)]) -> Self {
        let given = given.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
        Self { given, command: PhantomData }
    }

    fn fields() -> impl Iterator<Item = &'static Field> {
        FIELDS.0.iter().filter(|field| C::has(field.name))
    }
}

fn argument(field: &'static Field) -> Arg {
    let action = if field.is_list { ArgAction::Append } else { ArgAction::Set };
    Arg::new(field.name).long(long(field)).value_name(field.placeholder).action(action).help(field.help())
}

/// clap keeps names for as long as the program runs.
fn long(field: &'static Field) -> &'static str {
    static NAMES: LazyLock<BTreeMap<&'static str, String>> =
        LazyLock::new(|| FIELDS.0.iter().map(|field| (field.name, field.name.replace('_', "-"))).collect());
    &NAMES[field.name]
}

impl<C: Command> Args for Flags<C> {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(Self::fields().map(argument))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl<C: Command> FromArgMatches for Flags<C> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut flags = Self { given: BTreeMap::new(), command: PhantomData };
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        for field in Self::fields() {
            if let Some(values) = matches.get_many::<String>(field.name) {
                let values: Vec<&str> = values.map(String::as_str).collect();
                self.given.insert(field.name, values.join(","));
            }
        }
        Ok(())
    }
}
