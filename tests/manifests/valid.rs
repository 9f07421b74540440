//! Every object, against the schemas of the oldest and the newest version of
//! Kubernetes that the manifests are for.

use std::collections::BTreeMap;

use serde_json::json;

use crate::render::{self, Renders, none_of, program, root, script};
use crate::support::process::Invocation;
use crate::support::workdir::WorkDir;

/// The first with preStop's own sleep, and the newest.
const VERSIONS: [&str; 2] = ["1.30", "1.35"];

fn complaints(renders: &Renders) -> Vec<String> {
    let work = WorkDir::new("valid");
    let path = work.join("documents.json");
    std::fs::write(&path, serde_json::to_vec(renders).expect("JSON")).expect("room for the renders");
    let schemas = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests/schemas");
    let said = script("validate.py", &work).arg(&path).arg(schemas).args(VERSIONS).run();
    said.text().lines().map(str::to_owned).collect()
}

#[test]
fn every_object_is_valid() {
    let renders = render::all();
    assert!(renders.values().map(Vec::len).sum::<usize>() > 100, "so few objects: {:?}", renders.keys());
    none_of(complaints(renders));
}

#[test]
fn what_is_wrong_is_noticed() {
    let wrong = [
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"port": []}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "b"}, "spec": {"replicas": "two"}}),
        json!({"apiVersion": "v1", "kind": "Servce", "metadata": {"name": "c"}}),
        json!({"apiVersion": "batch/v1beta1", "kind": "CronJob", "metadata": {"name": "d"}}),
        json!({"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor", "metadata": {"name": "e"},
               "spec": {"selector": {"matchLabels": {"a": "b"}}, "endpoint": [], "endpoints": [{"port": "observe"}]}}),
    ];
    for object in wrong {
        let renders: Renders = BTreeMap::from([("wrong".to_owned(), vec![object.clone()])]);
        assert!(complaints(&renders).len() >= VERSIONS.len(), "nobody minds {object}");
    }
}

#[test]
fn a_key_that_stands_twice_is_noticed() {
    let work = WorkDir::new("twice");
    let path = work.join("twice.yaml");
    std::fs::write(&path, "kind: Service\nspec:\n  a: 1\n  a: 2\n").expect("room for a document");
    let said = script("documents.py", &work).arg(&path).fails().stderr;
    assert!(said.contains("a stands twice"), "{said}");
}

#[test]
fn helm_has_nothing_to_say() {
    let work = WorkDir::new("lint");
    for values in render::values_files() {
        let lint = Invocation::new(program("helm"), work.path()).arg("lint").arg(root().join("chart"));
        let said = lint.args(["--strict", "--quiet", "--values"]).arg(&values).run().text();
        assert!(!said.contains("[WARNING]") && !said.contains("[ERROR]"), "{}: {said}", values.display());
    }
}

#[test]
fn scripts_are_read_without_an_error() {
    let work = WorkDir::new("scripts");
    let mut count = 0;
    for (name, objects) in render::all() {
        for map in render::of_kind(objects, "ConfigMap") {
            for (key, script) in map["data"].as_object().expect("a map of texts") {
                let script = script.as_str().expect("a text");
                let Some(shell) = script.lines().next().and_then(|line| line.strip_prefix("#!")) else { continue };
                let path = work.join("script");
                std::fs::write(&path, script).expect("room for a script");
                let shell = if shell.ends_with("bash") { "/bin/bash" } else { "/bin/sh" };
                let outcome = Invocation::new(shell, work.path()).arg("-n").arg(&path).outcome();
                assert!(outcome.status.success(), "{name}, {key}: {}", outcome.story());
                count += 1;
            }
        }
    }
    assert!(count >= 5, "only {count} scripts");
}
