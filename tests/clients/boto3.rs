//! boto3, the Python SDK: one script per subject, run by the environment's
//! Python.

use std::path::Path;

use crate::visit::Visit;

/// Run one script on a bucket of its own; it checks everything itself and
/// fails by raising.
fn run_script(visit: &Visit, script: &str) {
    visit.make_bucket();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/clients/boto3_{script}.py"));
    let outcome = visit.call("venv:python").arg(&path).arg(&visit.bucket).limit_seconds(300).run();
    assert!(outcome.text().ends_with("done\n"), "{}", outcome.story());
}

#[test]
fn multipart_uploads() {
    run_script(&Visit::new("boto3-multipart"), "multipart");
}

#[test]
fn checksums() {
    run_script(&Visit::over_tls("boto3-checksums"), "checksums");
}

#[test]
fn lists_and_deletes() {
    run_script(&Visit::new("boto3-lists"), "lists");
}

#[test]
fn objects_and_their_headers() {
    run_script(&Visit::new("boto3-objects"), "objects");
}
