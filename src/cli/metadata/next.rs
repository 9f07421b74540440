//! What an operator does after a move.

use std::path::Path;

use super::place::Place;

/// The steps, with the commands as they are typed.
pub(super) fn steps(from: &Place, to: &Place) -> String {
    let mut text = format!("\nStart the gateway on it from now on:\n  {}\n", gateway(from, to));
    if let (Place::Directory(data), Place::Postgres(..)) = (from, to) {
        text += &nodes(data);
    }
    if let Place::Directory(data) = to
        && !data.join("cluster.key").exists()
    {
        text += "with --cluster-key-file FILE, where FILE is cluster.key of the gateway's former data directory.\n";
    }
    text + &match from {
        Place::Directory(data) => format!(
            "\n{} is left as it was, and refused from now on: remove it once all is well.\n",
            data.join("metadata.db").display()
        ),
        Place::Postgres(address, _) => {
            format!("\nThe database {address} is left as it was, and refused from now on: drop it once all is well.\n")
        }
    }
}

fn gateway(from: &Place, to: &Place) -> String {
    let data = match (from, to) {
        (_, Place::Directory(data)) => return format!("cairn gateway --data {}", data.display()),
        (Place::Directory(data), _) => data.display().to_string(),
        _ => "DIR".to_owned(),
    };
    match to {
        Place::Postgres(_, Some(file)) => format!("cairn gateway --data {data} --metadata-file {}", file.display()),
        // Not the address itself: it may hold a password.
        _ => format!("cairn gateway --data {data} --metadata ADDRESS    (the address that was given as --to)"),
    }
}

/// `cairn up` ran some in the directory, and a gateway runs none.
fn nodes(data: &Path) -> String {
    let nodes = data.join("nodes");
    if !nodes.is_dir() {
        return String::new();
    }
    let (data, nodes) = (data.display(), nodes.display());
    format!(
        "\nThe nodes that `cairn up` ran are run each by itself from now on, with one token for all of them:\n  \
         cairn token create --data {data}\n  cairn node --data {nodes}/N --join TOKEN\n"
    )
}
