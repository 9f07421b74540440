//! What the manifests set is what the program knows: every key of a cairn.toml and
//! every `CAIRN_*` variable, for the command that the container runs; and the chart's
//! schema lists exactly the settings of each part.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::render::{self, at, list, none_of, root, text, title};
use crate::support::process::Invocation;
use crate::support::workdir::WorkDir;

/// Settings by name: the variable, and the commands that they are for.
struct Reference(BTreeMap<String, (String, BTreeSet<String>)>);

impl Reference {
    /// As `cairn config --reference` lists them.
    fn read() -> Self {
        let work = WorkDir::new("reference");
        let text =
            Invocation::new(env!("CARGO_BIN_EXE_cairn"), work.path()).args(["config", "--reference"]).run().text();
        let mut settings = BTreeMap::new();
        for section in text.split("\n## `").skip(1) {
            let (name, rest) = section.split_once('`').expect("a name ends");
            let commands = rest.lines().find(|line| line.starts_with("For `cairn")).unwrap_or_default();
            let commands = commands.split("`cairn ").skip(1).filter_map(|part| part.split('`').next());
            let variable = rest.split('`').find(|word| word.starts_with("CAIRN_")).unwrap_or_default();
            settings.insert(name.to_owned(), (variable.to_owned(), commands.map(str::to_owned).collect()));
        }
        assert!(settings.len() > 20, "so few settings: {:?}", settings.keys());
        Self(settings)
    }

    fn complaint(&self, key: &str, command: &str) -> Option<String> {
        match self.0.get(key) {
            None => Some(format!("the program knows no '{key}'")),
            Some((_, commands)) if !commands.contains(command) => Some(format!("'{key}' is not for cairn {command}")),
            _ => None,
        }
    }

    fn of_variable(&self, variable: &str) -> Option<&str> {
        self.0.iter().find(|(_, (name, _))| name == variable).map(|(key, _)| key.as_str())
    }

    fn of_command(&self, command: &str) -> BTreeSet<&str> {
        self.0.iter().filter(|(_, (_, commands))| commands.contains(command)).map(|(key, _)| key.as_str()).collect()
    }
}

/// The pods that run Cairn: where they are from, the pod's spec, and the container.
fn cairns() -> Vec<(String, &'static [Value], &'static Value, &'static Value)> {
    let mut found = Vec::new();
    for (from, objects) in render::all() {
        for object in objects {
            let spec = at(object, "spec/template/spec");
            for container in list(spec, "containers") {
                let image = text(container, "image");
                if image.starts_with("cairn:") || image.contains("/cairn:") {
                    found.push((format!("{from}: {}", title(object)), objects.as_slice(), spec, container));
                }
            }
        }
    }
    assert!(found.len() > 20, "so few of them");
    found
}

/// The cairn.toml that a pod gets at /etc/cairn.
fn toml_of(objects: &[Value], spec: &Value, container: &Value) -> toml::Table {
    let mounted = list(container, "volumeMounts").iter().find(|mount| text(mount, "mountPath") == "/etc/cairn");
    let volume = text(mounted.expect("a folder /etc/cairn"), "name");
    let volume = list(spec, "volumes").iter().find(|one| text(one, "name") == volume).expect("its volume");
    let map =
        render::of_kind(objects, "ConfigMap").find(|map| text(map, "metadata/name") == text(volume, "configMap/name"));
    let text = text(map.expect("the ConfigMap is there"), "data/cairn.toml");
    text.parse().unwrap_or_else(|error| panic!("{error} in\n{text}"))
}

#[test]
fn every_setting_is_known() {
    let reference = Reference::read();
    let mut complaints = Vec::new();
    for (from, objects, spec, container) in cairns() {
        let command = text(container, "args/0");
        let settings = toml_of(objects, spec, container);
        let keys = settings.keys().filter_map(|key| reference.complaint(key, command));
        complaints.extend(keys.map(|said| format!("{from}, cairn.toml: {said}")));
        for variable in list(container, "env").iter().map(|one| text(one, "name")) {
            match reference.of_variable(variable) {
                Some(key) => {
                    complaints
                        .extend(reference.complaint(key, command).map(|said| format!("{from}, {variable}: {said}")));
                }
                None if variable.starts_with("CAIRN_") => complaints.push(format!("{from}: {variable} means nothing")),
                None => {}
            }
        }
    }
    none_of(complaints);
}

#[test]
fn the_program_takes_each_file() {
    let work = WorkDir::new("files");
    for (from, objects, spec, container) in cairns() {
        let path = work.join("cairn.toml");
        std::fs::write(&path, toml_of(objects, spec, container).to_string()).expect("room for a file");
        let call = Invocation::new(env!("CARGO_BIN_EXE_cairn"), work.path()).arg("--config").arg(&path).arg("config");
        let outcome = call.outcome();
        assert!(outcome.status.success() && outcome.stderr.is_empty(), "{from}: {}", outcome.story());
    }
}

#[test]
fn files_that_are_named_are_mounted() {
    let mut complaints = Vec::new();
    for (from, objects, spec, container) in cairns() {
        for (key, value) in toml_of(objects, spec, container) {
            let Some(path) = value.as_str().filter(|value| value.starts_with('/')) else { continue };
            if !secret_files(spec, container).contains(path) {
                complaints.push(format!("{from}: {key} is {path}, which no Secret is mounted at"));
            }
        }
    }
    none_of(complaints);
}

/// The files that Secrets put into a container.
fn secret_files(spec: &Value, container: &Value) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for mount in list(container, "volumeMounts") {
        let volume = list(spec, "volumes").iter().find(|one| text(one, "name") == text(mount, "name"));
        let Some(volume) = volume.filter(|volume| !volume["secret"].is_null()) else { continue };
        let named: Vec<&str> = list(volume, "secret/items").iter().map(|item| text(item, "path")).collect();
        // What `cairn secrets create` makes.
        let all = ["cluster.key", "join.token", "access-key", "secret-key"];
        let names = if named.is_empty() { all.to_vec() } else { named };
        files.extend(names.iter().map(|name| format!("{}/{name}", text(mount, "mountPath"))));
    }
    files
}

#[test]
fn the_schema_lists_the_settings_of_each_part() {
    let reference = Reference::read();
    let schema = std::fs::read(root().join("chart/values.schema.json")).expect("the chart has a schema");
    let schema: Value = serde_json::from_slice(&schema).expect("JSON");
    for (part, command) in [("gateway", "gateway"), ("worker", "worker"), ("nodes", "node")] {
        let listed = at(&schema, &format!("properties/{part}/properties/config/properties"));
        let listed: BTreeSet<&str> =
            listed.as_object().expect("a list of settings").keys().map(String::as_str).collect();
        assert_eq!(listed, reference.of_command(command), "{part}.config in values.schema.json");
    }
}
