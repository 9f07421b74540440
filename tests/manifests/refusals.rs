//! Values that the chart refuses, and what it says.

use crate::render;
use crate::support::workdir::WorkDir;

const SECRET: &str = "existingSecret=cairn";

/// What is set, and words of the sentence that comes back.
const REFUSED: [(&[&str], &str); 29] = [
    (&[], "no secret: run `cairn secrets create --out secrets --door cairn-door:9100`"),
    (&[SECRET, "secrets.joinToken=x"], "both existingSecret and secrets are set"),
    (&["secrets.joinToken=x"], "of secrets, only joinToken is set"),
    (&[SECRET, "metadata=sqlite"], "sqlite, which serves one gateway, and gateway.replicas is 2"),
    (
        &[SECRET, "metadata=sqlite", "gateway.replicas=1", "gateway.autoscaling.enabled=true"],
        "turn gateway.autoscaling off",
    ),
    (&[SECRET, "metadata=mysql"], "metadata"),
    (&[SECRET, "postgres.existingSecret="], "name the Secret that holds the database's address"),
    (&[SECRET, "gateway.replicas=0"], "gateway.replicas is 0: nothing would serve S3"),
    (&[SECRET, "gateway.replicas=-1"], "gateway"),
    (&[SECRET, "gateway.replicas=many"], "gateway"),
    (
        &[SECRET, "gateway.autoscaling.enabled=true", "gateway.autoscaling.minReplicas=9"],
        "minReplicas is 9, more than maxReplicas, 6",
    ),
    (&[SECRET, "worker.replicas=0"], "worker"),
    (&[SECRET, "scheme=4/3/5/6"], "scheme 4/3/5/6: required/repair/optimal/total must not fall"),
    (&[SECRET, "scheme=3/4/6/5"], "must not fall"),
    (&[SECRET, "scheme=3/4/5"], "scheme"),
    (&[SECRET, "scheme=0/4/5/6"], "scheme"),
    (&[SECRET, "scheme=3/4/5/300", "nodes.replicas=256"], "at most 256"),
    (&[SECRET, "scheme=4/5/7/8"], "puts pieces on 8 nodes, and nodes.replicas is 6"),
    (&[SECRET, "nodes.replicas=3"], "puts pieces on 6 nodes, and nodes.replicas is 3"),
    (&[SECRET, "nodes.kind=Deployment"], "nodes"),
    (&[SECRET, "nodes.kind=DaemonSet"], "nodes.hostPath is empty"),
    (&[SECRET, "nodes.kind=DaemonSet", "nodes.hostPath=var/lib"], "hostPath"),
    (&[SECRET, "nodes.hostPath=/var/lib/cairn"], "a StatefulSet has volumes"),
    (&[SECRET, "nodes.capacity=18"], "capacity"),
    (&[SECRET, "nodes.storage.size=20GiB"], "size"),
    (&[SECRET, "gateways.replicas=2"], "gateways"),
    (&[SECRET, "gateway.config.memmory=1GiB"], "memmory"),
    (&[SECRET, "nodes.config.listen=x"], "listen"),
    (&[SECRET, "gateway.service.type=Public"], "type"),
];

#[test]
fn each_is_refused_in_words_that_name_it() {
    let work = WorkDir::new("refusals");
    for (set, wanted) in REFUSED {
        let arguments: Vec<&str> = set.iter().flat_map(|value| ["--set", *value]).collect();
        let outcome = render::helm(&work, &arguments);
        assert!(!outcome.status.success(), "{set:?} was taken");
        assert!(outcome.stderr.contains(wanted), "{set:?} should be refused with '{wanted}': {}", outcome.stderr);
        assert!(!outcome.stderr.contains("nil pointer"), "{set:?}: {}", outcome.stderr);
    }
}

#[test]
fn an_old_kubernetes_is_refused() {
    let work = WorkDir::new("old");
    let outcome = render::helm(&work, &["--set", SECRET, "--kube-version", "1.29.0"]);
    assert!(!outcome.status.success() && outcome.stderr.contains("1.30"), "{}", outcome.story());
}
