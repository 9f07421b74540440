//! What a process that serves adds. No node is connected to it.

use crate::objects::Epochs;
use crate::workers::{HealthLoop, HealthTuning};
use std::sync::Arc;

use super::*;
use crate::erasure::Scheme;
use crate::transfer::{Budget, Fleet, Registered, SchemePolicy, Transfer};
use crate::transport::{ClusterIdentity, Door, DoorConfig, Tuning};
use crate::types::Generation;

async fn serving(ground: &Ground, doors: &[&str]) -> (Door, Operator) {
    let secret = ClusterSecret::from_bytes([7; 32]);
    let config = DoorConfig {
        cluster: ClusterIdentity::from_seed(&secret.signing_seed()).unwrap(),
        generation: Generation(1),
        admission: Arc::new(Registered::new(ground.metadata.clone())),
        tuning: Tuning::default(),
    };
    let door = Door::bind("127.0.0.1:0", config).await.unwrap();
    let fleet = Fleet::load(door.nodes(), &ground.metadata).await.unwrap();
    let scheme: Scheme = "1/1/2/3".parse().unwrap();
    let transfer = Transfer::new(
        fleet,
        ground.metadata.clone(),
        secret.piece_id_key(),
        SchemePolicy { configured: Some(scheme), min_nodes: None },
        Budget::new(64 << 20),
        Env::real(),
    );
    let epochs = Epochs::start(ground.metadata.clone(), transfer.fleet().clone(), &Env::real()).await.unwrap();
    let tuning = HealthTuning::default();
    let health = HealthLoop::new(ground.metadata.clone(), transfer.clone(), epochs, Env::real(), tuning).watch();
    let live = Some(Live {
        transfer,
        health,
        s3: Some("http://127.0.0.1:9000".to_owned()),
        stage: Stage::starting("gateway"),
    });
    let doors = doors.iter().map(|door| (*door).to_owned()).collect();
    (door, Operator::new(OperatorParts { doors, live, ..ground.parts() }))
}

#[tokio::test]
async fn puts_are_not_possible_without_nodes_and_status_says_so() {
    let ground = Ground::new().await;
    let (door, operator) = serving(&ground, &["door:1"]).await;
    let status = operator.run(&Status {}).await.unwrap();
    assert!(status.running && !status.healthy && status.uptime_s.is_some());
    assert_eq!(status.s3.as_deref(), Some("http://127.0.0.1:9000"));
    assert_eq!(status.doors, ["door:1"]);
    let puts = status.puts.unwrap();
    assert!(!puts.possible && puts.domains_connected == 0 && puts.domains_needed >= 2, "{puts:?}");
    assert!(status.problems[0].starts_with("objects cannot be written: "), "{:?}", status.problems);
    door.close();
}

#[tokio::test]
async fn a_change_reaches_the_fleet_at_once() {
    let ground = Ground::new().await;
    let (door, operator) = serving(&ground, &["door:1"]).await;
    let nodes = ground.join(4).await;
    // Nobody of them is connected, so none takes pieces.
    let error = operator.run(&change(&nodes[0], Wish::Suspend)).await.unwrap_err();
    assert!(error.sentence.contains("would leave 0 failure domains"), "{error}");
    operator.run(&Change { force: true, ..change(&nodes[0], Wish::Suspend) }).await.unwrap();
    let registered = operator.live().unwrap().transfer.fleet().registered();
    let state = registered.iter().find(|row| row.node == nodes[0]).unwrap().state.name();
    assert_eq!(state, "suspended");
    let listed = operator.run(&ListNodes {}).await.unwrap();
    assert!(listed.running && listed.nodes.iter().all(|view| !view.connected));
    // Of those that the process has not heard of yet, nothing bad is said.
    let record = listed.nodes[3].record.unwrap();
    assert_eq!((record.trust, record.success), (1.0, None));
    door.close();
}

#[tokio::test]
async fn a_process_without_a_door_for_others_makes_no_token_unless_told_where() {
    let ground = Ground::new().await;
    let (door, operator) = serving(&ground, &[]).await;
    let error = operator.run(&CreateToken { doors: Vec::new(), ..create() }).await.unwrap_err();
    assert!(error.sentence.contains("cairn gateway") && error.sentence.contains("cairn up"), "{error}");
    assert_eq!(operator.run(&create()).await.unwrap().doors, ["door.example.org:9100"]);
    door.close();
    let (door, operator) = serving(&ground, &["mine:1"]).await;
    assert_eq!(operator.run(&CreateToken { doors: Vec::new(), ..create() }).await.unwrap().doors, ["mine:1"]);
    door.close();
}
