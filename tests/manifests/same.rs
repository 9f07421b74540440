//! Kustomize and Helm make the same objects of the same choices. What only one of
//! them adds (a hash in a name, a checksum, a label that names the tool) is taken
//! away before they are compared.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::render::{self, none_of, text, title};

/// A kustomization, and the chart with the values that mean the same.
const PAIRS: [(&str, &str); 4] = [
    ("kustomize base", "helm base"),
    ("kustomize overlays/small", "helm small"),
    ("kustomize overlays/local-disks", "helm local-disks"),
    ("kustomize overlays/large", "helm large"),
];

const OF_HELM: [&str; 4] =
    ["app.kubernetes.io/managed-by", "helm.sh/chart", "checksum/config", "helm.sh/resource-policy"];

#[test]
fn the_same_objects_come_out() {
    let mut complaints = Vec::new();
    for (kustomize, helm) in PAIRS {
        let (left, right) = (plain(render::one(kustomize)), plain(render::one(helm)));
        for title in left.keys().chain(right.keys()) {
            match (left.get(title), right.get(title)) {
                (Some(left), Some(right)) => differences(&format!("{helm}: {title}"), left, right, &mut complaints),
                (Some(_), None) => complaints.push(format!("{helm} lacks {title}")),
                _ => complaints.push(format!("{kustomize} lacks {title}")),
            }
        }
    }
    complaints.sort();
    complaints.dedup();
    none_of(complaints);
}

#[test]
fn a_difference_is_noticed() {
    let objects = render::one("kustomize base");
    let mut changed = objects.to_vec();
    let gateway = changed.iter_mut().find(|object| title(object) == "Deployment/cairn-gateway").expect("a gateway");
    gateway["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 31.into();
    let (left, right) = (plain(objects), plain(&changed));
    let mut complaints = Vec::new();
    for (title, object) in &left {
        differences(title, object, &right[title], &mut complaints);
    }
    let wanted =
        "Deployment/cairn-gateway/spec/template/spec/terminationGracePeriodSeconds: 30 in one, 31 in the other";
    assert_eq!(complaints, [wanted]);
}

/// Objects by title, without what only one tool adds.
fn plain(objects: &[Value]) -> BTreeMap<String, Value> {
    let hashed: BTreeMap<String, String> = render::of_kind(objects, "ConfigMap")
        .map(|map| text(map, "metadata/name").to_owned())
        .filter_map(|name| {
            Some((name.clone(), name.rsplit_once('-').filter(|(_, hash)| hash.len() == 10)?.0.to_owned()))
        })
        .collect();
    let plain = objects.iter().map(|object| {
        let mut object = object.clone();
        simplify(&mut object, &hashed);
        (title(&object), object)
    });
    plain.collect()
}

fn simplify(value: &mut Value, hashed: &BTreeMap<String, String>) {
    match value {
        Value::String(text) => {
            if let Some(name) = hashed.get(text) {
                *text = name.clone();
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| simplify(value, hashed)),
        Value::Object(map) => {
            map.retain(|name, _| !OF_HELM.contains(&name.as_str()));
            if let Some(Value::String(text)) = map.get("cairn.toml") {
                let settings: Value = toml::from_str(text).unwrap_or_else(|error| panic!("{error} in\n{text}"));
                map.insert("cairn.toml".to_owned(), settings);
            }
            map.values_mut().for_each(|value| simplify(value, hashed));
            map.retain(|_, value| !value.as_object().is_some_and(serde_json::Map::is_empty));
            // By name, since their order means nothing.
            for (_, value) in map.iter_mut() {
                if let Value::Array(list) = value
                    && list.iter().all(|entry| entry["name"].is_string())
                {
                    list.sort_by_key(|entry| text(entry, "name").to_owned());
                }
            }
        }
        _ => {}
    }
}

/// Where two values differ, as paths.
fn differences(path: &str, left: &Value, right: &Value, complaints: &mut Vec<String>) {
    match (left, right) {
        (Value::Object(one), Value::Object(other)) => {
            for name in one.keys().chain(other.keys().filter(|name| !one.contains_key(*name))) {
                differences(&format!("{path}/{name}"), &left[name], &right[name], complaints);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (at, (left, right)) in one.iter().zip(other).enumerate() {
                differences(&format!("{path}/{at}"), left, right, complaints);
            }
        }
        (left, right) if left != right => complaints.push(format!("{path}: {left} in one, {right} in the other")),
        _ => {}
    }
}
