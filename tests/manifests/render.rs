//! Everything that can be applied, as lists of JSON objects: each kustomization and
//! the chart with each of its values files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;

use crate::support::process::{Invocation, Outcome};
use crate::support::workdir::WorkDir;

/// The newest version that helm believes to speak to.
const KUBERNETES: &str = "1.35.0";

/// Objects by where they come from: `kustomize overlays/small`, `helm small`.
pub type Renders = BTreeMap<String, Vec<Value>>;

/// docker/kubernetes.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/kubernetes")
}

/// A program of the Python environment.
pub fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/venv/bin").join(name);
    assert!(path.exists(), "{} is missing: run tests/install-clients", path.display());
    path
}

/// A Python program of this suite.
pub fn script(name: &str, work: &WorkDir) -> Invocation {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests").join(name);
    Invocation::new(program("python"), work.path()).env("PYTHONDONTWRITEBYTECODE", "1").arg(path)
}

/// `helm template` on the chart, to wherever it leads.
pub fn helm(work: &WorkDir, arguments: &[&str]) -> Outcome {
    let call = Invocation::new(program("helm"), work.path());
    call.args(["template", "cairn"])
        .arg(root().join("chart"))
        .args(["--kube-version", KUBERNETES])
        .args(arguments)
        .outcome()
}

/// All of them, rendered once.
pub fn all() -> &'static Renders {
    static ALL: OnceLock<Renders> = OnceLock::new();
    ALL.get_or_init(|| {
        let work = WorkDir::new("manifests");
        let mut texts = BTreeMap::new();
        for folder in kustomizations() {
            let rendered = Invocation::new(program("kubectl"), work.path()).arg("kustomize").arg(root().join(&folder));
            texts.insert(format!("kustomize {folder}"), rendered.run().text());
        }
        for values in values_files() {
            let outcome = helm(&work, &["--values", values.to_str().expect("UTF-8")]);
            assert!(outcome.status.success(), "{}", outcome.story());
            let name = values.file_name().unwrap_or_default().to_string_lossy().replace("-values.yaml", "");
            texts.insert(format!("helm {name}"), outcome.text());
        }
        let example = std::fs::read_to_string(root().join("csi/secret.example.yaml")).expect("it is there");
        texts.insert("csi/secret.example.yaml".to_owned(), example);
        documents(&work, &texts)
    })
}

/// One of them.
pub fn one(name: &str) -> &'static [Value] {
    all().get(name).unwrap_or_else(|| panic!("there is no '{name}' among {:?}", all().keys()))
}

/// The values files that CI renders the chart with.
pub fn values_files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("chart/ci")).expect("the chart has values to try");
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    found.sort();
    found
}

/// Folders below the root that can be applied. (A component is a part of one.)
fn kustomizations() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        if let Ok(text) = std::fs::read_to_string(folder.join("kustomization.yaml"))
            && text.contains("\nkind: Kustomization\n")
        {
            let name = folder.strip_prefix(root()).expect("below the root");
            found.push(name.to_str().expect("UTF-8").to_owned());
        }
        let entries =
            std::fs::read_dir(&folder).expect("a readable folder").map(|entry| entry.expect("an entry").path());
        folders.extend(entries.filter(|path| path.is_dir()));
    }
    assert!(found.len() >= 10, "only {found:?}");
    found
}

/// YAML texts as JSON, by name.
pub fn documents(work: &WorkDir, texts: &BTreeMap<String, String>) -> Renders {
    let mut names = BTreeMap::new();
    let mut call = script("documents.py", work);
    for (number, (name, text)) in texts.iter().enumerate() {
        let path = work.join(format!("{number}.yaml"));
        std::fs::write(&path, text).expect("room for a render");
        names.insert(path.to_str().expect("UTF-8").to_owned(), name.clone());
        call = call.arg(&path);
    }
    let parsed: BTreeMap<String, Vec<Value>> =
        serde_json::from_str(&call.run().text()).expect("the script prints JSON");
    parsed.into_iter().map(|(path, objects)| (names[&path].clone(), objects)).collect()
}

/// A value by its path: `spec/template/metadata`. Null where it is not there.
pub fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('/').fold(value, |value, name| match value {
        Value::Array(list) => name.parse::<usize>().ok().and_then(|at| list.get(at)).unwrap_or(&Value::Null),
        other => &other[name],
    })
}

/// A text by its path, empty where there is none.
pub fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    at(value, path).as_str().unwrap_or_default()
}

/// A list by its path, empty where there is none.
pub fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    at(value, path).as_array().map_or(&[], Vec::as_slice)
}

/// `Deployment/cairn-gateway`, for messages.
pub fn title(object: &Value) -> String {
    format!("{}/{}", text(object, "kind"), text(object, "metadata/name"))
}

/// The objects of one kind.
pub fn of_kind<'a>(objects: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| text(object, "kind") == kind)
}

/// Fails with all complaints at once.
pub fn none_of(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n\n  {}\n\n", complaints.join("\n  "));
}
