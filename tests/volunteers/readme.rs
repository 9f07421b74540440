//! The README's section on volunteers, run as it is written.

use std::path::Path;

use crate::support::free_port;
use crate::support::process::Invocation;
use crate::support::workdir::WorkDir;

const README: &str = include_str!("../../README.md");

#[test]
fn the_section_on_volunteers_works_as_written() {
    let work = WorkDir::new("readme");
    let section = README.split_once("\n## Disks of volunteers\n").expect("the README has it").1;
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let blocks: String =
        section.split("```sh\n").skip(1).filter_map(|block| Some(block.split_once("```")?.0)).collect();
    assert!(blocks.contains("cairn gateway") && blocks.contains("cairn node leave"), "{blocks}");
    // Ports that a reader has free may be taken where tests run.
    let blocks = blocks.replace("127.0.0.1:9100", &format!("127.0.0.1:{}", free_port()));
    let script = format!("trap 'kill $(jobs -p); wait' EXIT\nexport CAIRN_LISTEN=127.0.0.1:0\n{blocks}");
    let program = Path::new(env!("CARGO_BIN_EXE_cairn")).parent().expect("a program is in a folder");
    let path = format!("{}:/usr/bin:/bin", program.display());
    let shell = Invocation::new("/bin/bash", work.path()).env("PATH", path).args(["-euo", "pipefail", "-c", &script]);
    let outcome = shell.current_dir(work.path()).limit_seconds(300).run();
    assert!(outcome.text().contains("wiped"), "{}", outcome.story());
}
