//! Every command, where no process serves.

use std::collections::BTreeSet;

use super::super::nodes::Survey;
use super::super::status::Unsettled;
use super::*;
use crate::metadata::{Holder, JoinRefusal, MarkCompared, NodeSpace, PlaceNode, RecordHello, RegisterDoor};
use crate::types::InstanceId;

async fn refusal<C: Command>(operator: &Operator, command: C) -> AdminError
where
    C::Reply: std::fmt::Debug,
{
    operator.run(&command).await.unwrap_err()
}

#[tokio::test]
async fn a_token_lets_nodes_join_until_it_is_used_or_revoked() {
    let ground = Ground::new().await;
    let operator = ground.operator();
    let made = operator.run(&CreateToken { uses: Some(1), ..create() }).await.unwrap();
    let token: JoinToken = made.token.parse().unwrap();
    assert_eq!((token.cluster, token.uses), (ground.cluster, Some(1)));
    assert_eq!(token.doors, ["door.example.org:9100"]);
    assert_eq!((token.expires_ms, made.view.state), (made.view.expires_ms, TokenState::Good));
    assert_eq!(token.expires_ms, Some(made.view.created_ms + 3_600_000));

    let join = |node: u8| JoinNode {
        node: NodeId::from_bytes([node; 32]),
        token: token.credential.id,
        secret_digest: token.credential.secret_digest(),
    };
    ground.metadata.write(join(1)).await.unwrap().unwrap();
    let listed = operator.run(&ListTokens {}).await.unwrap().tokens;
    assert_eq!((listed[0].used, listed[0].state), (1, TokenState::Used));
    assert!(!serde_json::to_string(&listed).unwrap().contains(&token.credential.to_string()[33..]));

    let more = operator.run(&create()).await.unwrap();
    let revoked = operator.run(&RevokeToken { id: more.view.id[..8].to_owned() }).await.unwrap();
    assert_eq!((revoked.id.as_str(), revoked.state), (more.view.id.as_str(), TokenState::Revoked));
    let token: JoinToken = more.token.parse().unwrap();
    let late = JoinNode { token: token.credential.id, secret_digest: token.credential.secret_digest(), ..join(2) };
    assert_eq!(ground.metadata.write(late).await.unwrap(), Err(JoinRefusal::Revoked));
}

#[tokio::test]
async fn a_token_that_makes_no_sense_is_not_made() {
    let ground = Ground::new().await;
    let operator = ground.operator();
    let labels = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    let door = |door: &str| CreateToken { doors: vec![door.to_owned()], ..create() };
    let many = (0..33).map(|n| (format!("n{n}"), String::new())).collect();
    let long = (0..32).map(|n| (format!("n{n}"), "v".repeat(255))).collect();
    for (command, words) in [
        (CreateToken { uses: Some(0), ..create() }, "at least 1"),
        (CreateToken { good_for_ms: Some(999), ..create() }, "at least a second"),
        (CreateToken { good_for_ms: Some(u64::MAX), ..create() }, "null means for good"),
        (CreateToken { labels: labels("", "x"), ..create() }, "is no label's name"),
        (CreateToken { labels: labels("a b", "x"), ..create() }, "is no label's name"),
        (CreateToken { labels: labels("owner", "\u{1b}[2J"), ..create() }, "no control characters"),
        (CreateToken { labels: labels("owner", "gnp.\u{202e}exe"), ..create() }, "no control characters"),
        (CreateToken { labels: labels("owner", &"x".repeat(256)), ..create() }, "at most 255 bytes"),
        (CreateToken { labels: many, ..create() }, "at most 32 labels"),
        (CreateToken { labels: long, ..create() }, "longer than 4096"),
        (CreateToken { doors: vec!["a:1".to_owned(); 65], ..create() }, "at most 64 doors"),
        (door("door.example.org"), "is no door"),
        (door("door.example.org:0"), "is no door"),
        (door("https://door.example.org:1"), "is no door"),
        (door(":9100"), "is no door"),
        (door("::1:9100"), "is no door"),
        (door("[::x]:9100"), "is no door"),
        (door("0.0.0.0:9100"), "is no door"),
        (door("[::]:9100"), "is no door"),
        (door("[0:0::0]:9100"), "is no door"),
    ] {
        let error = refusal(&operator, command).await;
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert!(error.sentence.contains(words), "{error}");
    }
    for good in ["[2001:db8::1]:9100", "10.0.0.1:1", "door_1.local:65535"] {
        operator.run(&door(good)).await.unwrap();
    }
    assert_eq!(operator.run(&ListTokens {}).await.unwrap().tokens.len(), 3, "what was refused left nothing");
}

#[tokio::test]
async fn without_a_door_there_is_no_token_and_the_last_gateways_doors_will_do() {
    let ground = Ground::new().await;
    let error = refusal(&ground.operator(), CreateToken { doors: Vec::new(), ..create() }).await;
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.sentence.contains("--door-name HOST:PORT") && error.sentence.contains("--door HOST:PORT"), "{error}");
    let addresses = vec!["one:1".to_owned(), "two:2".to_owned()];
    ground.metadata.write(RegisterDoor { holder: Holder([1; 16]), addresses: addresses.clone() }).await.unwrap();
    let made = ground.operator().run(&CreateToken { doors: Vec::new(), ..create() }).await.unwrap();
    assert_eq!(made.doors, addresses);
}

#[tokio::test]
async fn nodes_are_listed_shown_and_changed() {
    let ground = Ground::new().await;
    let nodes = ground.join(8).await;
    let operator = ground.operator();
    let list = operator.run(&ListNodes {}).await.unwrap();
    assert!(!list.running);
    assert_eq!(list.nodes.iter().map(|view| view.number).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
    assert!(list.nodes.iter().all(|view| view.state == "active" && view.labels["team"] == "blue"));

    let suspend = Change { reason: Some("slow".to_owned()), ..change(&nodes[0], Wish::Suspend) };
    let shown = operator.run(&suspend).await.unwrap().view;
    assert_eq!((shown.state.as_str(), shown.reason.as_deref(), shown.damaged), ("suspended", Some("slow"), Some(0)));
    let again = operator.run(&ShowNode { node: nodes[0].to_string()[..6].to_owned() }).await.unwrap().view;
    assert_eq!(again, shown);
    assert_eq!(operator.run(&change(&nodes[0], Wish::Resume)).await.unwrap().view.state, "active");

    let gone = operator.run(&change(&nodes[7], Wish::Forget)).await.unwrap().view;
    assert_eq!(gone.state, "gone");
    let error = refusal(&operator, change(&nodes[7], Wish::Resume)).await;
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.sentence.contains("was given up"), "{error}");
    assert_eq!(refusal(&operator, ShowNode { node: "ffff".to_owned() }).await.kind, ErrorKind::NotFound);
    for reason in ["x".repeat(1025), "two\nlines".to_owned(), "\u{202e}".to_owned()] {
        let error = refusal(&operator, Change { reason: Some(reason), ..change(&nodes[0], Wish::Suspend) }).await;
        assert_eq!(error.kind, ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn too_few_failure_domains_are_left_only_by_force() {
    let ground = Ground::new().await;
    let nodes = ground.join(8).await;
    let operator = ground.operator();
    // 4/5/7/8: seven are needed.
    operator.run(&change(&nodes[0], Wish::Suspend)).await.unwrap();
    for wish in [Wish::Suspend, Wish::Drain, Wish::Forget] {
        let error = refusal(&operator, change(&nodes[1], wish)).await;
        assert_eq!(error.kind, ErrorKind::Refused);
        assert!(error.sentence.contains("6 failure domains") && error.sentence.contains("needs 7"), "{error}");
    }
    let forced = Change { force: true, ..change(&nodes[1], Wish::Drain) };
    assert_eq!(operator.run(&forced).await.unwrap().view.state, "draining");
    // What asks for nothing more of the cluster is no harm.
    operator.run(&change(&nodes[0], Wish::Suspend)).await.unwrap();
    operator.run(&change(&nodes[1], Wish::Drain)).await.unwrap();
}

#[tokio::test]
async fn a_node_of_this_directory_is_not_given_up_by_mistake() {
    let ground = Ground::new().await;
    let nodes = ground.join(8).await;
    let place = PlaceNode { node: nodes[3], place: "3".to_owned(), instead_of: None };
    ground.metadata.write(place).await.unwrap();
    for wish in [Wish::Drain, Wish::Forget] {
        let error = refusal(&ground.operator(), change(&nodes[3], wish)).await;
        assert!(error.sentence.contains("nodes/3") && error.sentence.contains("--force"), "{error}");
    }
    ground.operator().run(&change(&nodes[3], Wish::Suspend)).await.unwrap();
    let forced = Change { force: true, ..change(&nodes[3], Wish::Forget) };
    assert_eq!(ground.operator().run(&forced).await.unwrap().view.state, "gone");
}

#[tokio::test]
async fn a_cluster_that_nobody_serves_is_not_healthy() {
    let ground = Ground::new().await;
    ground.join(3).await;
    let status = ground.operator().run(&Status {}).await.unwrap();
    assert!(!status.running && !status.healthy && status.puts.is_none());
    assert!(status.problems[0].starts_with("not running"), "{:?}", status.problems);
    assert_eq!((status.nodes.members, status.nodes.offline, status.nodes.active), (3, 3, 3));
    assert_eq!((status.scheme.scheme.as_str(), status.scheme.survives_at_ack), ("1/1/2/3", 1));
    assert_eq!(status.warnings, [""; 0]);
    let json = serde_json::to_string(&status).unwrap();
    assert_eq!(serde_json::from_str::<StatusView>(&json).unwrap(), status);
}

#[tokio::test]
async fn a_scheme_that_survives_nothing_is_warned_of() {
    let ground = Ground::new().await;
    let nodes = ground.join(1).await;
    let status = ground.operator().run(&Status {}).await.unwrap();
    assert!(status.warnings[0].contains("1/1/1/1 survives no loss"), "{:?}", status.warnings);
    let error = refusal(&ground.operator(), change(&nodes[0], Wish::Drain)).await;
    assert!(error.sentence.contains("0 failure domains"), "{error}");
}

#[tokio::test]
async fn nodes_of_one_owner_are_one_failure_domain() {
    let ground = Ground::new().await;
    let labels = BTreeMap::from([("owner".to_owned(), "alice".to_owned())]);
    ground.join_with(3, CreateToken { labels, ..create() }).await;
    let list = ground.operator().run(&ListNodes {}).await.unwrap();
    assert!(list.nodes.iter().all(|view| view.domain == 1), "{:?}", list.nodes);
    let status = ground.operator().run(&Status {}).await.unwrap();
    assert_eq!((status.nodes.members, status.nodes.domains, status.scheme.scheme.as_str()), (3, 1, "1/1/1/1"));
}

#[tokio::test]
async fn the_last_scheme_in_force_is_gone_by_while_nothing_runs() {
    let ground = Ground::new().await;
    let nodes = ground.join(8).await;
    let told = |scheme: &str| ground.operator().with_last_scheme(Some(scheme.parse().unwrap()));
    let status = told("2/2/3/4").run(&Status {}).await.unwrap();
    assert_eq!((status.scheme.scheme.as_str(), status.scheme.survives_at_ack), ("2/2/3/4", 1));
    told("2/2/3/4").run(&change(&nodes[0], Wish::Suspend)).await.unwrap();
    let error = refusal(&told("2/3/8/8"), change(&nodes[1], Wish::Suspend)).await;
    assert!(error.sentence.contains("6 failure domains") && error.sentence.contains("needs 8"), "{error}");
}

#[tokio::test]
async fn a_node_that_was_seen_lately_is_given_up_only_by_force() {
    let ground = Ground::new().await;
    let nodes = ground.join(8).await;
    ground.see(1, NodeSpace { writable_bytes: 1 << 40, ..NodeSpace::default() }).await;
    let error = refusal(&ground.operator(), change(&nodes[0], Wish::Forget)).await;
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.sentence.contains("was seen 0 seconds ago") && error.sentence.contains("--force"), "{error}");
    let forced = Change { force: true, ..change(&nodes[0], Wish::Forget) };
    assert_eq!(ground.operator().run(&forced).await.unwrap().view.state, "gone");
}

#[tokio::test]
async fn a_node_without_room_for_a_full_piece_does_not_count() {
    let ground = Ground::new().await;
    let nodes = ground.join(8).await;
    ground.see(8, NodeSpace { writable_bytes: 1000, ..NodeSpace::default() }).await;
    let error = refusal(&ground.operator(), change(&nodes[0], Wish::Suspend)).await;
    assert!(error.sentence.contains("6 failure domains that take pieces now"), "{error}");
    // It is not missed itself.
    ground.operator().run(&change(&nodes[7], Wish::Suspend)).await.unwrap();
}

#[tokio::test]
async fn an_older_state_is_noted_until_the_node_was_compared() {
    let ground = Ground::new().await;
    let nodes = ground.join(3).await;
    for (node, start_counter) in [(0, 2), (0, 1), (1, 2), (1, 1)] {
        let hello = RecordHello {
            node: nodes[node],
            instance: InstanceId::from_bytes([start_counter as u8; 16]),
            start_counter,
            log_position: 0,
            software: String::new(),
            said: BTreeMap::new(),
            address: std::net::Ipv4Addr::new(192, 0, 2, node as u8).into(),
        };
        ground.metadata.write(hello).await.unwrap();
    }
    let notes = async || {
        let warnings = ground.operator().run(&Status {}).await.unwrap().warnings;
        warnings.into_iter().filter(|warning| warning.contains("older state")).collect::<Vec<_>>()
    };
    let two =
        "node 01010101 came back with an older state than it had shown; and so did 1 more: see `cairn nodes list`";
    assert_eq!(notes().await, [two]);
    ground.metadata.write(MarkCompared { node: 1, rollbacks: 1 }).await.unwrap();
    let one = "node 02020202 came back with an older state than it had shown: see `cairn nodes show 02020202`";
    assert_eq!(notes().await, [one]);
    ground.metadata.write(MarkCompared { node: 2, rollbacks: 1 }).await.unwrap();
    assert_eq!(notes().await, [""; 0]);
}

#[tokio::test]
async fn what_is_settled_is_not_said_any_more() {
    let ground = Ground::new().await;
    ground.join(1).await;
    let mut survey = Survey::take(&ground.operator()).await.unwrap();
    let mut notes = |ago_s, damaged, repairs| {
        let view = &mut survey.views[0];
        view.connection = Some(ConnectionView {
            connected_s: 9999,
            connections: 1,
            idle_connections: 1,
            refused_duplicates: 3,
            last_duplicate_s: ago_s,
        });
        view.record = Some(RecordView { trust: 1.0, success: None, slow: false, wrong_share_s: ago_s });
        (view.wrong_shares, view.rollbacks, view.damaged) = (5, 2, Some(damaged));
        Unsettled { rolled_back: BTreeSet::new(), repairs }.suspicions(&survey).len()
    };
    assert_eq!(notes(Some(599), 1, true), 3, "run twice, wrong, damaged");
    assert_eq!(notes(Some(600), 1, false), 1, "that it gave wrong shares is said for a day");
    assert_eq!(notes(Some(24 * 3600), 0, true), 0);
    assert_eq!(notes(None, 1, false), 0, "all was repaired");
}
