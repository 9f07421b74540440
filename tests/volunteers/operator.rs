//! What the operator's commands say.

use rustix::process::Signal;

use crate::support::community::{Gateway, Objects};
use crate::support::process::Invocation;

#[test]
fn an_operator_sees_nodes_tokens_and_health() {
    let gateway = Gateway::start(&[]);
    let token = gateway.token(&["--uses", "unlimited", "--label", "owner=alice", "--expires", "7d"]);
    let nodes: Vec<_> =
        (0..3).map(|number| gateway.node(&format!("node-{number}"), &token, &["--label", "region=eu-west"])).collect();
    gateway.wait_connected(3);
    let rows = gateway.rows();
    for row in &rows {
        assert_eq!((&row["state"], &row["labels"]["owner"]), (&"active".into(), &"alice".into()), "{row:#}");
        assert_eq!(row["said"]["region"], "eu-west", "{row:#}");
        assert_eq!(row["domain"], rows[0]["domain"], "one owner is one failure domain");
    }
    let listed = gateway.json(&["token", "list"]);
    assert_eq!((&listed[0]["used"], &listed[0]["uses"]), (&3.into(), &serde_json::Value::Null), "{listed:#}");
    assert!(!listed.to_string().contains(&token));
    let id = nodes[0].id();
    let shown = gateway.json(&["nodes", "show", &id[..10]]);
    assert_eq!(shown["node"], id.as_str(), "a unique beginning is enough");
    for (words, code) in
        [(&["nodes", "show", "ffff"][..], 1), (&["token", "revoke", "zz"], 2), (&["token", "create", "--uses", "0"], 2)]
    {
        let outcome = gateway.operator(words).outcome();
        assert_eq!(outcome.status.code(), Some(code), "{}", outcome.story());
    }
}

#[test]
fn the_commands_work_while_the_gateway_is_stopped() {
    let mut gateway = Gateway::start(&["--scheme", "1/1/2/3"]);
    let nodes = gateway.nodes(3);
    let objects = Objects::put(&gateway, "kept", 1);
    let id = nodes[0].id();
    gateway.stop(Signal::TERM);
    assert_eq!(gateway.rows().len(), 3);
    let status = gateway.operator(&["status"]).outcome();
    assert!(status.text().contains("not running"), "{}", status.story());
    gateway.operator(&["nodes", "suspend", &id]).run();
    gateway.restart(Signal::TERM, &["--scheme", "1/1/2/3"]);
    gateway.wait_connected(3);
    assert_eq!(gateway.row(&id)["state"], "suspended");
    objects.check(&gateway);
}

#[test]
fn a_directory_that_is_none_of_cairns_is_left_alone() {
    let gateway = Gateway::start(&[]);
    let nowhere = gateway.work().join("nowhere");
    for words in [&["status"][..], &["nodes", "list"], &["token", "create"]] {
        let command = Invocation::new(env!("CARGO_BIN_EXE_cairn"), gateway.work().path()).args(words);
        let outcome = command.arg("--data").arg(&nowhere).outcome();
        assert_eq!(outcome.status.code(), Some(2), "{}", outcome.story());
        assert!(!nowhere.exists(), "{words:?} made a directory");
    }
}
