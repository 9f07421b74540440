//! `cairn version`: which Cairn this is, and which formats it reads and writes.

use super::{Failure, answer, data_dir};

/// Print the version and the formats that it reads and writes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn command(arguments: &Arguments) -> Result<(), Failure> {
    let (version, directory, seal) = (env!("CARGO_PKG_VERSION"), data_dir::FORMAT, crate::seal::FORMAT);
    if arguments.json {
        let fields =
            serde_json::json!({ "version": version, "formats": { "data_directory": directory, "seal": seal } });
        return answer(&format!("{fields}\n"));
    }
    answer(&format!("cairn {version}\ndata directory format {directory}, seal format {seal}\n"))
}
