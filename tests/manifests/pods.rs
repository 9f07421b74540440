//! What holds for every pod, whoever made it: no privileges, nothing that can be
//! written but its volumes, limits, and everything that it names is there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::render::{self, at, list, none_of, text, title};

/// A pod's template and where it is from.
struct Pod {
    from: String,
    objects: &'static [Value],
    labels: &'static Value,
    spec: &'static Value,
}

fn pods() -> Vec<Pod> {
    let mut found = Vec::new();
    for (from, objects) in render::all() {
        for object in objects {
            let template = match text(object, "kind") {
                "CronJob" => at(object, "spec/jobTemplate/spec/template"),
                "Pod" => object,
                _ => at(object, "spec/template"),
            };
            if template["spec"]["containers"].is_array() {
                let from = format!("{from}: {}", title(object));
                found.push(Pod { from, objects, labels: &template["metadata"]["labels"], spec: &template["spec"] });
            }
        }
    }
    assert!(found.len() > 30, "so few pods");
    found
}

impl Pod {
    fn containers(&self) -> impl Iterator<Item = &'static Value> {
        list(self.spec, "initContainers").iter().chain(list(self.spec, "containers"))
    }
}

/// Runs a check on every pod; its complaints say which one.
fn each(check: fn(&Pod) -> Vec<String>) {
    none_of(pods().iter().flat_map(|pod| check(pod).into_iter().map(|said| format!("{}: {said}", pod.from))).collect());
}

/// A complaint where something does not hold.
fn unless(holds: bool, said: &str) -> Option<String> {
    (!holds).then(|| said.to_owned())
}

#[test]
fn none_has_privileges() {
    each(|pod| {
        let mut complaints: Vec<String> = [
            unless(at(pod.spec, "securityContext/runAsNonRoot") == true, "may run as root"),
            unless(at(pod.spec, "securityContext/runAsUser").as_u64().is_some_and(|user| user > 0), "names no user"),
            unless(text(pod.spec, "securityContext/seccompProfile/type") == "RuntimeDefault", "has no seccomp profile"),
            unless(
                pod.spec["hostNetwork"].is_null() && pod.spec["hostPID"].is_null(),
                "shares the machine's namespaces",
            ),
        ]
        .into_iter()
        .flatten()
        .collect();
        for container in pod.containers() {
            let of = |path: &str| at(container, &format!("securityContext/{path}"));
            let said = [
                unless(of("allowPrivilegeEscalation") == false, "may gain privileges"),
                unless(of("readOnlyRootFilesystem") == true, "may write to its image"),
                unless(of("capabilities/drop") == &serde_json::json!(["ALL"]), "keeps capabilities"),
                unless(of("privileged").is_null(), "is privileged"),
            ];
            let name = text(container, "name");
            complaints.extend(said.into_iter().flatten().map(|said| format!("container {name} {said}")));
        }
        complaints
    });
}

#[test]
fn only_the_collection_may_speak_to_the_cluster() {
    each(|pod| {
        let may = text(pod.spec, "serviceAccountName") == "registry-collect";
        let closed = at(pod.spec, "automountServiceAccountToken") == false;
        unless(may || closed, "has a token for the cluster's API").into_iter().collect()
    });
}

#[test]
fn each_says_what_it_needs() {
    each(|pod| {
        let needs = ["requests/cpu", "requests/memory", "limits/memory"];
        let lacks = |container: &Value| {
            let missing = needs.iter().find(|need| text(container, &format!("resources/{need}")).is_empty());
            missing.map(|need| format!("container {} has no resources/{need}", text(container, "name")))
        };
        pod.containers().filter_map(lacks).collect()
    });
}

#[test]
fn volumes_are_there_and_are_used() {
    each(|pod| {
        let mut volumes: BTreeSet<&str> = list(pod.spec, "volumes").iter().map(|volume| text(volume, "name")).collect();
        let own = pod.objects.iter().find(|object| at(object, "spec/template/spec") == pod.spec);
        let claims = own.map_or(&[][..], |object| list(object, "spec/volumeClaimTemplates"));
        volumes.extend(claims.iter().map(|claim| text(claim, "metadata/name")));
        let mounts = pod.containers().flat_map(|container| list(container, "volumeMounts"));
        let mounted: BTreeSet<&str> = mounts.map(|mount| text(mount, "name")).collect();
        let missing = mounted.difference(&volumes).map(|name| format!("mounts {name}, which is no volume"));
        let idle = volumes.difference(&mounted).map(|name| format!("has the volume {name} and mounts it nowhere"));
        missing.chain(idle).collect()
    });
}

#[test]
fn configuration_that_is_mounted_is_applied_with_it() {
    each(|pod| {
        let maps: BTreeSet<&str> =
            render::of_kind(pod.objects, "ConfigMap").map(|map| text(map, "metadata/name")).collect();
        let named = list(pod.spec, "volumes").iter().map(|volume| text(volume, "configMap/name"));
        named.filter(|name| !name.is_empty() && !maps.contains(name)).map(|name| format!("mounts {name}")).collect()
    });
}

#[test]
fn secrets_are_not_for_everybody() {
    each(|pod| {
        let open = |volume: &&Value| {
            let mode = at(volume, "secret/defaultMode").as_u64();
            !volume["secret"].is_null() && mode.is_none_or(|mode| mode & 0o007 != 0)
        };
        list(pod.spec, "volumes")
            .iter()
            .filter(open)
            .map(|volume| format!("{} may be read by all", text(volume, "name")))
            .collect()
    });
}

#[test]
fn probes_and_services_name_ports_that_are_there() {
    each(|pod| {
        let mut complaints = Vec::new();
        for container in pod.containers() {
            let ports: BTreeSet<&str> = list(container, "ports").iter().map(|port| text(port, "name")).collect();
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                for kind in ["httpGet", "tcpSocket"] {
                    let port = text(container, &format!("{probe}/{kind}/port"));
                    complaints
                        .extend(unless(port.is_empty() || ports.contains(port), &format!("{probe} asks port {port}")));
                }
            }
        }
        complaints
    });
    let mut complaints = Vec::new();
    for (from, objects) in render::all() {
        for service in render::of_kind(objects, "Service") {
            let behind: Vec<&Value> = selected(objects, &service["spec"]["selector"]);
            complaints.extend(unless(!behind.is_empty(), &format!("{from}: no pod is behind {}", title(service))));
            for port in list(service, "spec/ports").iter().map(|port| text(port, "targetPort")) {
                let all = behind.iter().all(|template| has_port(template, port));
                complaints.extend(unless(
                    all,
                    &format!("{from}: {} leads to a port {port} that not all pods have", title(service)),
                ));
            }
        }
    }
    none_of(complaints);
}

/// The templates of pods that have all of these labels.
fn selected<'a>(objects: &'a [Value], selector: &Value) -> Vec<&'a Value> {
    let labels = selector.as_object().expect("a selector");
    assert!(!labels.is_empty(), "a selector that selects all");
    let templates = objects.iter().map(|object| at(object, "spec/template")).filter(|one| one.is_object());
    templates.filter(|one| labels.iter().all(|(name, value)| &one["metadata"]["labels"][name] == value)).collect()
}

fn has_port(template: &Value, port: &str) -> bool {
    list(template, "spec/containers").iter().any(|one| list(one, "ports").iter().any(|had| text(had, "name") == port))
}

#[test]
fn budgets_policies_and_scalers_mean_pods_that_are_there() {
    let mut complaints = Vec::new();
    for (from, objects) in render::all() {
        for (kind, path) in
            [("PodDisruptionBudget", "spec/selector/matchLabels"), ("NetworkPolicy", "spec/podSelector/matchLabels")]
        {
            for object in render::of_kind(objects, kind) {
                let behind = selected(objects, at(object, path));
                complaints.extend(unless(!behind.is_empty(), &format!("{from}: {} means no pod", title(object))));
                for rule in list(object, "spec/ingress") {
                    for port in list(rule, "ports").iter().filter_map(|port| port["port"].as_str()) {
                        let known = behind.iter().all(|template| has_port(template, port));
                        complaints.extend(unless(
                            known,
                            &format!("{from}: {} opens a port {port} that is not there", title(object)),
                        ));
                    }
                }
            }
        }
        for scaler in render::of_kind(objects, "HorizontalPodAutoscaler") {
            let name = text(scaler, "spec/scaleTargetRef/name");
            let target = render::of_kind(objects, "Deployment").find(|object| text(object, "metadata/name") == name);
            let replicas = target.map(|object| &object["spec"]["replicas"]);
            complaints.extend(unless(
                replicas.is_some_and(Value::is_null),
                &format!("{from}: {name} has replicas and a scaler"),
            ));
        }
    }
    none_of(complaints);
}

/// Kustomize gives names that it makes a hash, and once took a Deployment in a Role
/// for a ConfigMap of that name.
#[test]
fn roles_are_for_objects_that_are_there() {
    let mut complaints = Vec::new();
    let mut seen = 0;
    for (from, objects) in render::all() {
        for rule in render::of_kind(objects, "Role").flat_map(|role| list(role, "rules")) {
            for name in list(rule, "resourceNames").iter().filter_map(Value::as_str) {
                let there = list(rule, "resources").iter().filter_map(Value::as_str).all(|resource| {
                    objects.iter().any(|object| {
                        let kind = text(object, "kind").to_lowercase() + "s";
                        kind == resource && text(object, "metadata/name") == name
                    })
                });
                complaints.extend(unless(there, &format!("{from}: a Role names '{name}', which is not there")));
                seen += 1;
            }
        }
    }
    none_of(complaints);
    assert!(seen >= 2, "only {seen} names in Roles");
}

#[test]
fn selectors_match_their_own_pods_and_no_others() {
    let mut complaints = Vec::new();
    for (from, objects) in render::all() {
        for object in objects.iter().filter(|object| at(object, "spec/selector/matchLabels").is_object()) {
            if at(object, "spec/template").is_null() {
                continue;
            }
            let behind = selected(objects, at(object, "spec/selector/matchLabels"));
            complaints.extend(unless(
                behind.len() == 1,
                &format!("{from}: {} selects {} templates", title(object), behind.len()),
            ));
        }
    }
    none_of(complaints);
}

#[test]
fn images_are_few_and_have_versions() {
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for pod in pods() {
        for container in pod.containers() {
            let (name, version) = text(container, "image").rsplit_once(':').expect("an image has a version");
            found.entry(name).or_default().insert(version);
        }
    }
    found.remove("registry.example.org/cairn");
    for (name, versions) in &found {
        assert!(versions.len() == 1, "{name} in several versions: {versions:?}");
        assert!(*name == "cairn" || !versions.contains("latest"), "{name}:latest changes under everybody's feet");
    }
    let names: Vec<&str> = found.keys().copied().collect();
    assert_eq!(names, ["alpine/k8s", "busybox", "cairn", "postgres", "rclone/rclone", "registry"]);
}

#[test]
fn labels_say_what_a_pod_is() {
    each(|pod| unless(pod.labels["app.kubernetes.io/name"].is_string(), "has no name").into_iter().collect());
}
