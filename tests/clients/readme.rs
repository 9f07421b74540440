//! The README's examples, run as they are written.

use std::path::Path;

use crate::support::data;
use crate::support::process::free_port;
use crate::visit::{Visit, installed};

const README: &str = include_str!("../../README.md");
const LOAD_KEYS: &str = "set -a; . ./cairn-data/s3.env; set +a";

#[test]
fn aws_cli_section() {
    let printed = run_section("AWS CLI", "");
    assert!(printed.contains("docs/README.md\n") && printed.contains("X-Amz-Signature="), "{printed}");
}

#[test]
fn rclone_section() {
    // The remote control's port is rclone's own; the daemon must not wait for
    // this shell.
    run_section("rclone", "rclone check docs cairn:photos/docs; rclone cat cairn:photos/README.md | cmp - README.md");
}

#[test]
fn docker_registry_section() {
    let printed = run_section(
        "Docker registry",
        "trap 'kill $!' EXIT; for i in $(seq 600); do curl -sf http://127.0.0.1:5000/v2/ && break; sleep 0.1; done",
    );
    assert!(printed.ends_with("{}"), "{printed}");
}

#[test]
fn restic_section() {
    run_section("restic", "cmp docs/file-0.bin restored/docs/file-0.bin");
}

/// Run the `sh` blocks below one heading in a folder that looks like a clone
/// beside a running `cairn up`, then `more`; what they print.
fn run_section(heading: &str, more: &str) -> String {
    let blocks = blocks_below(heading);
    assert!(README.contains(LOAD_KEYS), "the README should say how to load the keys");
    assert!(!blocks.is_empty(), "the README has no examples below {heading:?}");
    let visit = Visit::new("readme");
    let clone = visit.work.folder("clone");
    std::os::unix::fs::symlink(visit.data(), clone.join("cairn-data")).expect("a fresh folder");
    std::fs::write(clone.join("README.md"), README).expect("room for a file");
    std::fs::create_dir(clone.join("docs")).expect("a fresh folder");
    data::random_file(&clone.join("docs/file-0.bin"), 1700, 20 * data::MIB);
    // Ports that a reader has free may be taken where tests run.
    let script = format!("{LOAD_KEYS}\n{blocks}\n{more}\n");
    let script = script.replace("127.0.0.1:5000", &format!("127.0.0.1:{}", free_port()));
    run(&visit, &clone, &script)
}

fn run(visit: &Visit, clone: &Path, script: &str) -> String {
    let call = visit.bare_call(installed("/bin/bash")).current_dir(clone);
    let outcome =
        call.env("RCLONE_RC_ADDR", format!("127.0.0.1:{}", free_port())).args(["-euo", "pipefail", "-c", script]).run();
    outcome.text()
}

/// The text of all `sh` blocks between a third-level heading and the next
/// heading.
fn blocks_below(heading: &str) -> String {
    let section = README.split_once(&format!("\n### {heading}\n")).map_or("", |(_, rest)| rest);
    let end = section.find("\n## ").unwrap_or(section.len()).min(section.find("\n### ").unwrap_or(section.len()));
    let blocks = section[..end].split("```sh\n").skip(1);
    blocks.filter_map(|block| block.split_once("```")).map(|(commands, _)| commands).collect()
}
