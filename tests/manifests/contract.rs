//! Names, ports, users and times on which image, program and manifests have agreed.

use serde_json::{Value, json};

use crate::render::{self, at, list, text, title};

/// Renders that bring up Cairn itself.
fn clusters() -> Vec<(&'static str, &'static [Value])> {
    let with_doors = |objects: &[Value]| objects.iter().any(|object| title(object) == "Service/cairn-door");
    let all = render::all().iter().filter(|(_, objects)| with_doors(objects));
    let found: Vec<_> = all.map(|(from, objects)| (from.as_str(), objects.as_slice())).collect();
    assert!(found.len() >= 9, "only {}", found.len());
    found
}

fn find<'a>(objects: &'a [Value], wanted: &str) -> Option<&'a Value> {
    objects.iter().find(|object| title(object) == wanted)
}

#[test]
fn s3_and_the_door_are_where_everybody_looks() {
    for (from, objects) in clusters() {
        let s3 = find(objects, "Service/cairn").expect("a Service cairn");
        assert_eq!(at(s3, "spec/ports/0/port"), 9000, "{from}");
        let door = find(objects, "Service/cairn-door").expect("a Service cairn-door");
        assert_eq!(at(door, "spec/ports/0/port"), 9100, "{from}");
        assert_eq!(text(door, "spec/clusterIP"), "None", "{from}: nodes have to find each pod");
        assert_eq!(at(door, "spec/publishNotReadyAddresses"), true, "{from}: a gateway may wait for nodes");
    }
}

/// The container of each part, with the pod it is in.
fn parts(objects: &[Value]) -> Vec<(&Value, &Value, &str)> {
    let found = objects.iter().filter_map(|object| {
        let spec = at(object, "spec/template/spec");
        let container = list(spec, "containers").first()?;
        let command = text(container, "args/0");
        ["gateway", "worker", "node"].contains(&command).then_some((spec, container, command))
    });
    found.collect()
}

#[test]
fn ports_users_and_paths_are_the_images() {
    for (from, objects) in clusters() {
        for (spec, container, command) in parts(objects) {
            let ports: Vec<u64> =
                list(container, "ports").iter().filter_map(|port| port["containerPort"].as_u64()).collect();
            let wanted: &[u64] = match command {
                "gateway" => &[9000, 9100, 9102],
                "worker" => &[9100, 9102],
                _ => &[9102],
            };
            assert_eq!(ports, wanted, "{from}: {command}");
            for id in ["runAsUser", "runAsGroup", "fsGroup"] {
                assert_eq!(at(spec, &format!("securityContext/{id}")), 65532, "{from}: {command}, {id}");
            }
            let data = list(container, "volumeMounts").iter().any(|mount| text(mount, "mountPath") == "/data");
            assert!(data, "{from}: {command} has no volume at /data, and no other place to write to");
            assert!(container["command"].is_null(), "{from}: the image has its entry point");
            assert_eq!(spec["enableServiceLinks"], false, "{from}: CAIRN_PORT would be taken for a setting");
        }
    }
}

#[test]
fn there_is_time_to_drain() {
    for (from, objects) in clusters() {
        for (spec, container, command) in parts(objects) {
            let grace = at(spec, "terminationGracePeriodSeconds").as_u64().expect("a time to end");
            let before = at(container, "lifecycle/preStop/sleep/seconds").as_u64().unwrap_or(0);
            assert!(grace >= before + 10 + 5, "{from}: {command} needs 10 s after {before} s and gets {grace}");
            assert_eq!(
                before > 0,
                command == "gateway",
                "{from}: only {command} behind a Service waits before it ends"
            );
        }
    }
}

#[test]
fn probes_ask_the_observe_port() {
    for (from, objects) in clusters() {
        for (_, container, command) in parts(objects) {
            for (probe, path) in [
                ("startupProbe", "/health/live"),
                ("livenessProbe", "/health/live"),
                ("readinessProbe", "/health/ready"),
            ] {
                let wanted = json!({"path": path, "port": "observe"});
                assert_eq!(at(container, &format!("{probe}/httpGet")), &wanted, "{from}: {command}");
            }
        }
    }
}

#[test]
fn nodes_get_the_token_and_no_other_secret() {
    for (from, objects) in clusters() {
        for (spec, _, command) in parts(objects) {
            let mut files = Vec::new();
            for volume in list(spec, "volumes").iter().filter(|volume| !volume["secret"].is_null()) {
                let items = list(volume, "secret/items").iter().map(|item| text(item, "key"));
                files.push(items.collect::<Vec<_>>());
            }
            match command {
                "node" => assert_eq!(files, [["join.token"]], "{from}"),
                "worker" => assert_eq!(files[0], ["cluster.key", "join.token"], "{from}: no S3 keys"),
                _ => {}
            }
        }
    }
}

#[test]
fn a_node_is_its_volume() {
    for (from, objects) in clusters() {
        if let Some(nodes) = find(objects, "StatefulSet/cairn-node") {
            let claims = list(nodes, "spec/volumeClaimTemplates");
            assert_eq!(claims.len(), 1, "{from}");
            assert_eq!(text(&claims[0], "metadata/name"), "data", "{from}");
            let service = text(nodes, "spec/serviceName");
            assert!(find(objects, &format!("Service/{service}")).is_some(), "{from}: no Service {service}");
        } else {
            let nodes = find(objects, "DaemonSet/cairn-node").expect("nodes");
            let volumes = list(nodes, "spec/template/spec/volumes");
            let data = volumes.iter().find(|volume| text(volume, "name") == "data").expect("a volume for data");
            assert_eq!(
                text(data, "hostPath/type"),
                "Directory",
                "{from}: a disk that is not mounted must not become a folder"
            );
        }
    }
}

/// What a node may store has to be less than its volume.
#[test]
fn capacity_fits_the_volume() {
    let mut seen = 0;
    for (from, objects) in clusters() {
        let Some(nodes) = find(objects, "StatefulSet/cairn-node") else { continue };
        let size = bytes(text(nodes, "spec/volumeClaimTemplates/0/spec/resources/requests/storage"));
        let map =
            render::of_kind(objects, "ConfigMap").find(|map| text(map, "metadata/name").starts_with("cairn-node"));
        let settings: toml::Table = text(map.expect("their file"), "data/cairn.toml").parse().expect("TOML");
        let capacity = bytes(settings["capacity"].as_str().expect("a size").trim_end_matches('B'));
        assert!(capacity * 100 <= size * 95, "{from}: {capacity} of {size} bytes");
        seen += 1;
    }
    assert!(seen >= 6, "only {seen}");
}

/// `20Gi`, `450G`.
fn bytes(text: &str) -> u64 {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).expect("a unit"));
    let unit = match unit {
        "Gi" => 1 << 30,
        "G" => 1_000_000_000,
        other => panic!("an unusual unit: {other}"),
    };
    number.parse::<u64>().expect("a number") * unit
}

/// One gateway with SQLite is never two, and is no reason to refuse a drain.
#[test]
fn sqlite_is_for_one() {
    for from in ["kustomize overlays/small", "helm small"] {
        let objects = render::one(from);
        let gateway = find(objects, "Deployment/cairn-gateway").expect("a gateway");
        assert_eq!(at(gateway, "spec/replicas"), 1, "{from}");
        assert_eq!(text(gateway, "spec/strategy/type"), "Recreate", "{from}");
        for absent in
            ["Deployment/cairn-worker", "PodDisruptionBudget/cairn-gateway", "HorizontalPodAutoscaler/cairn-gateway"]
        {
            assert!(find(objects, absent).is_none(), "{from} has {absent}");
        }
        assert!(find(objects, "PersistentVolumeClaim/cairn-gateway").is_some(), "{from}");
    }
}
