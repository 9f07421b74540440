//! The command line: a file per command. Configuration is composed here, and
//! nowhere else is the environment read or anything printed.
//!
//! Exit codes: 0 when a command did what it was asked to, 1 when it failed
//! while running, 2 when it could not start.

mod announce;
mod cluster;
mod cluster_key;
mod config;
mod credentials;
mod data_dir;
mod database;
mod doors;
mod failure;
mod gateway;
mod health;
mod join_token;
mod local_nodes;
mod logging;
mod machine;
mod metadata;
mod node;
mod nodes;
mod observe;
mod operator;
mod panic;
mod plan;
mod process;
mod progress;
mod reserve;
mod secret_file;
mod secrets;
mod serve;
mod settings;
mod signals;
mod simulate;
mod slot;
mod status;
mod text;
mod token;
mod up;
mod version;
mod worker;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use data_dir::DataDir;
pub use failure::Failure;
pub use settings::{Config, Credentials};

/// What a newcomer reads first.
const EXAMPLES: &str = "\
Examples:
  Serve S3 from eight local nodes, and use it from another terminal:
    cairn up
    set -a; . ./cairn-data/s3.env; set +a; aws s3 ls

  The same, kept elsewhere and open to the network:
    cairn up --data /srv/cairn --listen 0.0.0.0:9000

  See what would hold, and where each value comes from:
    CAIRN_NODES=12 cairn config

Every setting is a flag, an environment variable (--tls-cert is CAIRN_TLS_CERT) or a key in a
TOML file (tls_cert): `cairn config --reference` describes them all.";

/// An S3 gateway to storage that nobody has to trust: what it is given is
/// sealed, erasure-coded and spread over storage nodes.
#[derive(Debug, Parser)]
#[command(name = "cairn", version, after_help = EXAMPLES)]
struct CommandLine {
    /// A TOML file with settings; also CAIRN_CONFIG.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Arguments),
    Gateway(gateway::Arguments),
    Worker(worker::Arguments),
    Node(node::Arguments),
    Token(token::Arguments),
    Nodes(nodes::Arguments),
    Status(status::Arguments),
    Health(health::Arguments),
    Secrets(secrets::Arguments),
    Metadata(metadata::Arguments),
    Plan(plan::Arguments),
    Simulate(simulate::Arguments),
    Config(config::Arguments),
    Version(version::Arguments),
}

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    panic::end_the_process_on_panic();
    let outcome = match CommandLine::try_parse() {
        Ok(line) => run(line),
        Err(usage) => return report_usage(&usage),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("cairn: {failure}"));
            failure.exit_code()
        }
    }
}

fn run(line: CommandLine) -> Result<(), Failure> {
    match line.command {
        Command::Up(arguments) => up::command(arguments, line.config),
        Command::Gateway(arguments) => gateway::command(arguments, line.config),
        Command::Worker(arguments) => worker::command(arguments, line.config),
        Command::Node(arguments) => node::command(arguments, line.config),
        Command::Token(arguments) => token::command(arguments, line.config),
        Command::Nodes(arguments) => nodes::command(arguments, line.config),
        Command::Status(arguments) => status::command(arguments, line.config),
        Command::Health(arguments) => health::command(arguments, line.config),
        Command::Secrets(arguments) => secrets::command(arguments, line.config),
        Command::Metadata(arguments) => metadata::command(arguments),
        Command::Plan(arguments) => plan::command(arguments),
        Command::Simulate(arguments) => simulate::command(arguments),
        Command::Config(arguments) => config::command(arguments, line.config),
        Command::Version(arguments) => version::command(&arguments),
    }
}

/// clap's own sentence: help goes to stdout with 0, a mistake to stderr with 2.
fn report_usage(usage: &clap::Error) -> ExitCode {
    // Whoever closed the pipe has read enough.
    let _ = usage.print();
    ExitCode::from(usage.exit_code() as u8)
}

/// A line for people. A broken stderr is no reason to stop serving.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// A command's answer on stdout, whole and flushed.
fn answer(text: &str) -> Result<(), Failure> {
    show(text).map(drop)
}

/// The same for what goes on: whether anybody still reads it.
fn show(text: &str) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // A reader that closes its end, as `head` does, has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::running(format!("stdout could not be written: {error}"))),
        Ok(()) => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }
}
