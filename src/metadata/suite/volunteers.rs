//! Volunteers in the suite: tokens, standing, what nodes say, doors, damage.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use crate::metadata::*;
use crate::types::{BodyId, InstanceId, KeyVersion, NodeId, PieceId, SegmentId, StreamId, TokenId};

pub(super) fn stream(segment: SegmentId) -> NewStream {
    NewStream {
        stream: StreamId::from_bytes([1; 16]),
        size_bytes: 100,
        key_version: KeyVersion(1),
        wrapped_key: vec![0; 48],
        md5: [0; 16],
        checksum: None,
        content: StreamContent::Extents(vec![Extent { stream_offset: 0, segment, segment_offset: 0, length: 100 }]),
    }
}

pub(super) fn body(stream: &NewStream) -> NewBody {
    NewBody { body: BodyId::from_bytes([1; 16]), spans: vec![super::whole(stream)], parts: None }
}

pub(super) fn id(node: u8) -> NodeId {
    NodeId::from_bytes([node; 32])
}

const SECRET: [u8; 32] = [5; 32];

async fn token(metadata: &Metadata, number: u8, good_for_ms: Option<u64>, uses: Option<u32>) -> TokenId {
    let token = TokenId::from_bytes([number; 16]);
    let labels = BTreeMap::from([("owner".to_owned(), format!("token {number}"))]);
    let create = CreateToken { token, secret_digest: SECRET, good_for_ms, uses, labels };
    let row = metadata.write(create).await.unwrap();
    let listed = metadata.read(ListTokens).await.unwrap();
    assert_eq!(listed.into_iter().find(|row| row.token == token), Some(row), "as it was made");
    token
}

async fn redeem(metadata: &Metadata, node: u8, token: TokenId) -> Result<(), JoinRefusal> {
    metadata.write(JoinNode { node: id(node), token, secret_digest: SECRET }).await.unwrap()
}

/// Lets a node join by a token of its own. Nodes get numbers in their order.
pub(super) async fn join(metadata: &Metadata, node: u8) {
    let token = token(metadata, node, None, Some(1)).await;
    redeem(metadata, node, token).await.unwrap();
}

/// Lets a node that had gone join by another token.
pub(super) async fn join_again(metadata: &Metadata, node: u8) {
    let token = token(metadata, node + 100, None, Some(1)).await;
    redeem(metadata, node, token).await.unwrap();
}

pub(super) async fn change(metadata: &Metadata, node: u8, change: NodeChange) -> Result<NodeRow, ChangeRefusal> {
    metadata.write(ChangeNode { node: id(node), change, reason: Some("why".into()) }).await.unwrap()
}

async fn find(metadata: &Metadata, node: u8) -> NodeRow {
    metadata.read(FindNode { node: id(node) }).await.unwrap().unwrap()
}

pub(super) async fn tokens_are_good_once(metadata: Metadata) {
    let one = token(&metadata, 1, Some(3_600_000), Some(1)).await;
    let forged = JoinNode { node: id(1), token: one, secret_digest: [6; 32] };
    assert_eq!(metadata.write(forged).await.unwrap(), Err(JoinRefusal::Unknown));
    assert_eq!(redeem(&metadata, 1, TokenId::from_bytes([9; 16])).await, Err(JoinRefusal::Unknown));
    assert_eq!(metadata.read(FindNode { node: id(1) }).await.unwrap(), None, "a refusal changes nothing");
    redeem(&metadata, 1, one).await.unwrap();
    redeem(&metadata, 1, one).await.unwrap();
    assert_eq!(metadata.read(ListTokens).await.unwrap()[0].used, 1, "idempotent for its node");
    assert_eq!(find(&metadata, 1).await.labels["owner"], "token 1");
    assert_eq!(redeem(&metadata, 2, one).await, Err(JoinRefusal::Used));

    let expired = token(&metadata, 2, Some(0), None).await;
    assert_eq!(redeem(&metadata, 2, expired).await, Err(JoinRefusal::Expired));
    redeem(&metadata, 1, expired).await.expect("a member stays one, whatever its token says");
    let revoked = token(&metadata, 3, None, None).await;
    redeem(&metadata, 2, revoked).await.unwrap();
    assert!(metadata.write(RevokeToken { token: revoked }).await.unwrap());
    assert!(metadata.write(RevokeToken { token: revoked }).await.unwrap(), "as often as one likes");
    assert!(!metadata.write(RevokeToken { token: TokenId::from_bytes([9; 16]) }).await.unwrap());
    assert_eq!(redeem(&metadata, 3, revoked).await, Err(JoinRefusal::Revoked));
    assert!(find(&metadata, 2).await.state.is_member(), "who joined stays");

    let unlimited = token(&metadata, 4, None, None).await;
    for node in 3..6 {
        redeem(&metadata, node, unlimited).await.unwrap();
    }
    change(&metadata, 3, NodeChange::Forget).await.unwrap();
    assert_eq!(redeem(&metadata, 3, unlimited).await, Err(JoinRefusal::Again));
    let number = find(&metadata, 3).await.number;
    let fresh = token(&metadata, 5, None, Some(1)).await;
    redeem(&metadata, 3, fresh).await.unwrap();
    let row = find(&metadata, 3).await;
    assert_eq!((row.number, row.state, row.reason), (number, NodeState::Active, None), "taken back as it was");
    assert_eq!(row.labels["owner"], "token 5");
    metadata.close().await;
}

pub(super) async fn a_token_that_was_made_elsewhere_is_accepted_once(metadata: Metadata) {
    let accept = |number: u8, secret_digest| {
        let token = TokenId::from_bytes([number; 16]);
        metadata.write(AcceptToken { token, secret_digest, expires: None, uses: None, labels: BTreeMap::new() })
    };
    let row = accept(1, SECRET).await.unwrap().unwrap();
    redeem(&metadata, 1, row.token).await.unwrap();
    assert_eq!(accept(1, SECRET).await.unwrap(), Some(TokenRow { used: 1, ..row.clone() }), "it stays as it is");
    assert_eq!(accept(1, [6; 32]).await.unwrap(), None, "another token of its name");
    metadata.write(RevokeToken { token: row.token }).await.unwrap();
    assert!(accept(1, SECRET).await.unwrap().unwrap().revoked.is_some(), "an operator's word counts");
    assert_eq!(redeem(&metadata, 2, row.token).await, Err(JoinRefusal::Revoked));
    let (one, other) = tokio::join!(accept(2, SECRET), accept(2, SECRET));
    assert_eq!(one.unwrap(), other.unwrap());
    assert_eq!(metadata.read(ListTokens).await.unwrap().len(), 2);
    metadata.close().await;
}

pub(super) async fn nodes_change_as_they_may(metadata: Metadata) {
    use NodeChange::{Drain, Forget, Leave, Resume, Suspend};
    use NodeState::{Active, Draining, Gone, Left, Suspended};
    assert_eq!(change(&metadata, 99, Drain).await, Err(ChangeRefusal::Unknown(id(99))));
    // How it came to be, what it is, and what becomes of it by each change.
    type Way = (&'static [NodeChange], NodeState, [Option<NodeState>; 5]);
    let ways: [Way; 5] = [
        (&[], Active, [Some(Suspended), Some(Active), Some(Draining), Some(Gone), None]),
        (&[Suspend], Suspended, [Some(Suspended), Some(Active), Some(Draining), Some(Gone), None]),
        (&[Drain], Draining, [None, Some(Active), Some(Draining), Some(Gone), Some(Left)]),
        (&[Forget], Gone, [None, None, None, Some(Gone), None]),
        (&[Drain, Leave], Left, [None, None, None, Some(Gone), None]),
    ];
    let mut node = 0;
    for (way, state, outcomes) in ways {
        for (then, outcome) in [Suspend, Resume, Drain, Forget, Leave].into_iter().zip(outcomes) {
            node += 1;
            join(&metadata, node).await;
            for step in way {
                change(&metadata, node, *step).await.unwrap();
            }
            let before = find(&metadata, node).await;
            assert_eq!(before.state, state);
            let changed = change(&metadata, node, then).await;
            let after = find(&metadata, node).await;
            match outcome {
                Some(outcome) => assert_eq!((changed.unwrap(), after.state), (after.clone(), outcome)),
                None => {
                    assert_eq!(changed, Err(ChangeRefusal::State { node: id(node), state }));
                    assert_eq!(after, before, "a refusal changes nothing");
                }
            }
        }
    }
    // A new reason for what it is already is taken, and none takes nothing away.
    join(&metadata, 90).await;
    for (reason, kept) in [(Some("slow"), "slow"), (None, "slow"), (Some("still slow"), "still slow")] {
        let reason = reason.map(str::to_owned);
        let row = metadata.write(ChangeNode { node: id(90), change: Suspend, reason }).await.unwrap().unwrap();
        assert_eq!((row.reason.as_deref(), find(&metadata, 90).await), (Some(kept), row.clone()));
    }
    metadata.close().await;
}

fn hello(node: u8, start_counter: u64, log_position: u64) -> RecordHello {
    RecordHello {
        node: id(node),
        instance: InstanceId::from_bytes([start_counter as u8; 16]),
        start_counter,
        log_position,
        software: "cairn 0".into(),
        said: BTreeMap::from([("region".to_owned(), "here".to_owned())]),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

pub(super) async fn what_a_node_says_is_kept(metadata: Metadata) {
    join(&metadata, 1).await;
    join(&metadata, 2).await;
    assert!(metadata.write(hello(9, 1, 1)).await.is_err(), "not registered");
    metadata.write(hello(1, u64::MAX, u64::MAX)).await.unwrap();
    let row = find(&metadata, 1).await;
    assert_eq!((row.software.as_str(), row.said["region"].as_str()), ("cairn 0", "here"));
    assert_eq!((row.address, row.space), (Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), None));
    assert!(row.seen.is_some());
    let space = NodeSpace { capacity_bytes: u64::MAX, used_bytes: 2, writable_bytes: 3, pieces: 4 };
    metadata.write(hello(2, 1, 1)).await.unwrap();
    let holder = Holder([3; 16]);
    let instance = hello(2, 1, 1).instance;
    let seen =
        SeenNode { number: 2, instance, start_counter: 1, space, log_position: 7, wrong_shares: 5, failing: true };
    for seen in [seen, SeenNode { log_position: 6, ..seen }] {
        metadata.write(RecordSeen { holder, nodes: vec![seen] }).await.unwrap();
    }
    let row = find(&metadata, 2).await;
    assert_eq!((row.space, row.wrong_shares, row.log_position), (Some(space), 10, 7));
    assert_eq!((row.instance, row.seen_by, row.failing), (Some(instance), Some(holder), true));
    metadata.write(hello(2, 1, 1)).await.unwrap();
    assert_eq!(find(&metadata, 2).await.seen_by, None, "whoever let it in, it is not the one that saw it");

    let pieces = |numbers: &[u8]| numbers.iter().map(|number| PieceId::from_bytes([*number; 16])).collect::<Vec<_>>();
    let damage = |node, numbers: &[u8]| metadata.write(RecordDamage { node, pieces: pieces(numbers) });
    damage(1, &[1, 2, 2]).await.unwrap();
    damage(2, &[2]).await.unwrap();
    damage(1, &[3, 1]).await.unwrap();
    assert_eq!((find(&metadata, 1).await.damage, find(&metadata, 2).await.damage), (2, 1));
    damage(1, &[3]).await.unwrap();
    assert_eq!(find(&metadata, 1).await.damage, 2, "no news");
    assert_eq!(metadata.read(DamageOf { node: 1 }).await.unwrap(), pieces(&[1, 2, 3]));
    let all = metadata.read(ListDamage).await.unwrap();
    assert_eq!(all, [1, 1, 1, 2].into_iter().zip(pieces(&[1, 2, 3, 2])).collect::<Vec<_>>(), "nothing is taken back");
    change(&metadata, 1, NodeChange::Forget).await.unwrap();
    damage(1, &[4]).await.unwrap();
    assert_eq!(metadata.read(ListDamage).await.unwrap().len(), 1, "of a node that is gone nothing is kept");
    metadata.close().await;
}

pub(super) async fn a_node_that_goes_back_is_noticed(metadata: Metadata) {
    join(&metadata, 1).await;
    let says = async |starts, position| metadata.write(hello(1, starts, position)).await.unwrap();
    assert!(!says(1, 10).await);
    assert!(!says(1, 10).await, "another door");
    assert!(!says(2, 10).await);
    assert_eq!(metadata.read(ListRolledBack).await.unwrap(), []);
    assert!(says(1, 20).await, "it had started more often");
    let space = NodeSpace::default();
    let start = |number: u8| InstanceId::from_bytes([number; 16]);
    let seen = SeenNode {
        number: 1,
        instance: start(1),
        start_counter: 1,
        space,
        log_position: 30,
        wrong_shares: 0,
        failing: false,
    };
    let record = async |nodes| metadata.write(RecordSeen { holder: Holder([3; 16]), nodes }).await.unwrap();
    record(vec![seen]).await;
    assert!(says(2, 29).await, "it had acknowledged more");
    // A gateway that has not heard of the new start yet still records the one before.
    record(vec![SeenNode { log_position: 90, failing: true, ..seen }]).await;
    let row = find(&metadata, 1).await;
    assert_eq!((row.log_position, row.failing), (29, false));
    let unheard = SeenNode { instance: start(3), start_counter: 3, log_position: 29, failing: true, ..seen };
    record(vec![unheard]).await;
    assert!(find(&metadata, 1).await.failing, "one that could not be recorded when it came counts");
    assert_eq!(metadata.read(ListRolledBack).await.unwrap(), [(1, 2)]);
    metadata.write(MarkCompared { node: 1, rollbacks: 1 }).await.unwrap();
    assert_eq!(metadata.read(ListRolledBack).await.unwrap(), [(1, 2)], "it went back again meanwhile");
    metadata.write(MarkCompared { node: 1, rollbacks: 2 }).await.unwrap();
    assert_eq!(metadata.read(ListRolledBack).await.unwrap(), []);
    assert!(!says(3, 29).await, "from here it goes on");
    assert!(!says(3, 28).await, "said before it went on, and heard late");
    assert!(says(4, 28).await);
    let other = RecordHello { instance: InstanceId::from_bytes([99; 16]), ..hello(1, 4, 28) };
    assert!(metadata.write(other).await.unwrap(), "two starts of one number are two copies of one past");
    change(&metadata, 1, NodeChange::Forget).await.unwrap();
    assert_eq!(metadata.read(ListRolledBack).await.unwrap(), [], "nobody asks a node that is gone");
    metadata.close().await;
}

pub(super) async fn doors_are_known_for_a_while(metadata: Metadata) {
    let list = |within_ms| metadata.read(ListDoors { within_ms });
    let door = |holder: u8, addresses: &[&str]| {
        let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
        metadata.write(RegisterDoor { holder: Holder([holder; 16]), addresses })
    };
    door(1, &["b:1", "a:1"]).await.unwrap();
    door(2, &["b:1", "c:1"]).await.unwrap();
    assert_eq!(list(60_000).await.unwrap(), ["a:1", "b:1", "c:1"]);
    door(1, &[]).await.unwrap();
    assert_eq!(list(60_000).await.unwrap(), ["b:1", "c:1"], "what it says now");
    metadata.write(CloseDoor { holder: Holder([2; 16]) }).await.unwrap();
    assert_eq!(list(60_000).await.unwrap(), [""; 0]);
    door(1, &["a:1"]).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    assert_eq!(list(5).await.unwrap(), [""; 0], "not registered lately");
    metadata.close().await;
}
