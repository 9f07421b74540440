//! The README's section on growing up, run as it is written: from `cairn up` to
//! two gateways on a PostgreSQL, with everything that was stored before; and all
//! the way back.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::postgres::Server;
use crate::support::cairn::Access;
use crate::support::client::Client;
use crate::support::community::{Objects, SIZES, SOON};
use crate::support::process::{Daemon, Invocation};
use crate::support::workdir::WorkDir;
use crate::support::{data, free_port, poll};

const README: &str = include_str!("../../README.md");
const CAIRN: &str = env!("CARGO_BIN_EXE_cairn");

/// The section's commands, on ports that are free.
fn script() -> String {
    let section = README.split_once("\n## Growing up\n").expect("the README has it").1;
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let blocks: String =
        section.split("```sh\n").skip(1).filter_map(|block| Some(block.split_once("```")?.0)).collect();
    assert!(blocks.contains("cairn metadata copy") && blocks.contains("--cluster-key-file"), "{blocks}");
    [9100, 9101, 9001].iter().fold(blocks, |blocks, port| {
        blocks.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{}", free_port()))
    })
}

/// Writes a file that its owner alone may read.
pub fn private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).expect("room for a line");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("a file of our own");
}

/// What a client has to know of the process that serves this folder.
fn access(daemon: &mut Daemon, data: &Path) -> Access {
    daemon.wait_until("the keys", Duration::from_secs(60), || {
        Access::parse(&std::fs::read_to_string(data.join("s3.env")).unwrap_or_default())
    })
}

#[test]
fn the_section_on_growing_up_works_as_written() {
    let work = WorkDir::new("growing");
    let (one, two) = (work.join("cairn-data"), work.join("second"));
    let mut up = start_up(&work, &one);
    let before = access(&mut up, &one);
    let objects = Objects::put_by(Client::new(&before), "before", 2);
    assert!(up.stop(Signal::TERM, Duration::from_secs(60)).is_some_and(|status| status.success()), "{}", up.story());
    std::fs::remove_file(one.join("s3.env")).expect("it was just read");

    let server = Server::shared();
    let database = server.database(None);
    private(&work.join("database"), &server.url(&database));
    let program = Path::new(CAIRN).parent().expect("a program is in a folder");
    let path = format!("{}:/usr/bin:/bin", program.display());
    let script = format!("export CAIRN_LISTEN=127.0.0.1:0\n{}\necho GROWN UP; wait", script());
    let shell = Invocation::new("/bin/bash", work.path()).env("PATH", path).args(["-euo", "pipefail", "-c", &script]);
    let mut shell = shell.current_dir(work.path()).start(&work.join("shell.log"));
    let limit = Duration::from_secs(300);
    poll(limit, Duration::from_millis(100), || (shell.log().contains("GROWN UP") || shell.has_ended()).then_some(()));
    assert!(shell.log().contains("GROWN UP"), "{}", shell.story());
    let clients = [access(&mut shell, &one), access(&mut shell, &two)].map(|access| {
        assert_eq!((&access.key, &access.secret), (&before.key, &before.secret), "the keys are the same");
        Client::new(&access)
    });
    clients.iter().for_each(|client| objects.check_by(client));
    // What one takes, the other one gives.
    for (at, size) in SIZES.into_iter().enumerate() {
        let (bytes, path) = (data::random(at as u64, size), format!("/before/new-{at}"));
        clients[at % 2].put(&path, &bytes).expect("an answer").ok(&path);
        assert!(clients[(at + 1) % 2].get(&path).expect("an answer").ok(&path).body == bytes, "{path} has changed");
    }
    drop(shell);
    let back = ["metadata", "copy", "--from-file", "database", "--to", "sqlite:cairn-data"];
    let copy = || Invocation::new(CAIRN, work.path()).args(back).current_dir(work.path()).outcome();
    // What was killed with the shell lets go of its folder a moment later; a refusal changes nothing.
    let copied = poll(SOON, Duration::from_millis(200), || Some(copy()).filter(|copied| copied.status.success()));
    assert!(copied.is_some(), "{}", copy().story());
    std::fs::remove_file(one.join("s3.env")).expect("it was read before");
    let mut up = start_up(&work, &one);
    let client = Client::new(&access(&mut up, &one));
    objects.check_by(&client);
    client.get("/before/new-3").expect("an answer").ok("what was stored meanwhile");
}

fn start_up(work: &WorkDir, data: &Path) -> Daemon {
    let up = Invocation::new(CAIRN, work.path()).args(["up", "--listen", "127.0.0.1:0", "--data"]).arg(data);
    up.start(&work.join("up.log"))
}
