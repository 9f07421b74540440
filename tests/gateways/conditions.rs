//! Conditional writes over two gateways at once are as linearizable as over
//! one: somebody wins, and everybody agrees on who it was.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::shared::{free_name, site};
use crate::support::client::{Body, Call, Client, Reply, between};
use crate::support::data::random;

/// Refused because of its condition, or because another one was at the same key.
fn lost(reply: &Reply) -> bool {
    let code = between(&reply.text(), "<Code>", "</Code>").to_owned();
    matches!((reply.status, code.as_str()), (412, "PreconditionFailed") | (409, "ConditionalRequestConflict"))
}

fn put_if(client: &Client, path: &str, condition: (&str, &str), bytes: &[u8]) -> Reply {
    let call = Call::new("PUT", path).header(condition.0, condition.1).body(Body::Bytes(bytes));
    client.send(call).expect("an answer")
}

/// What every one of them answers: one body, or that there is none.
fn agreed(clients: &[Client], path: &str) -> Option<Vec<u8>> {
    let answers = clients.iter().map(|client| client.get(path).expect("an answer")).map(|reply| match reply.status {
        404 => None,
        _ => Some(reply.ok("read").body),
    });
    let mut answers: Vec<Option<Vec<u8>>> = answers.collect();
    let (bucket, key) = path.rsplit_once('/').expect("a bucket and a key");
    for client in clients {
        let listed = client.list(bucket, key).expect("an answer").contains_key(key);
        assert_eq!(listed, answers[0].is_some(), "the list and GET disagree on {path}");
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "the gateways disagree on {path}");
    answers.pop().flatten()
}

fn bucket(client: &Client) -> String {
    let name = format!("/{}", free_name());
    client.put(&name, b"").expect("an answer").ok("make a bucket");
    name
}

#[test]
fn of_many_that_create_a_key_exactly_one_does() {
    let site = site();
    let clients = site.plain();
    let bucket = bucket(&clients[0]);
    for round in 0..12_u64 {
        let (path, size) = (format!("{bucket}/key-{round}"), [100, 30_000][round as usize % 2]);
        let start = Barrier::new(8);
        let replies: Vec<(u64, Reply)> = std::thread::scope(|scope| {
            let create = |number: u64| {
                let (client, path, start) = (&clients[number as usize % 2], &path, &start);
                scope.spawn(move || {
                    let bytes = random(number, size);
                    start.wait();
                    (number, put_if(client, path, ("if-none-match", "*"), &bytes))
                })
            };
            let threads: Vec<_> = (0..8).map(create).collect();
            threads.into_iter().map(|thread| thread.join().expect("an answer")).collect()
        });
        let won: Vec<u64> =
            replies.iter().filter(|(_, reply)| reply.status == 200).map(|(number, _)| *number).collect();
        assert_eq!(won.len(), 1, "round {round}: {replies:?}");
        assert!(replies.iter().all(|(_, reply)| reply.status == 200 || lost(reply)), "round {round}: {replies:?}");
        assert_eq!(agreed(&clients, &path), Some(random(won[0], size)));
    }
}

#[test]
fn a_counter_counts_every_swap_that_succeeded() {
    let site = site();
    let clients = site.plain();
    let path = format!("{}/counter", bucket(&clients[0]));
    clients[0].put(&path, b"0").expect("an answer").ok("begin to count");
    let (swapped, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for number in 0..8_usize {
            let (clients, path, swapped, refused) = (&clients, &path, &swapped, &refused);
            scope.spawn(move || {
                for round in 0..15 {
                    let read = clients[(number + round) % 2].get(path).expect("an answer").ok("read");
                    let value: u64 = read.text().parse().expect("a number");
                    let next = (value + 1).to_string();
                    let condition = ("if-match", read.header("etag"));
                    let reply = put_if(&clients[(number + round / 2) % 2], path, condition, next.as_bytes());
                    let count = if reply.status == 200 { swapped } else { refused };
                    assert!(reply.status == 200 || lost(&reply), "{} {}", reply.status, reply.text());
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let (swapped, refused) = (swapped.into_inner(), refused.into_inner());
    let counted = agreed(&clients, &path).expect("it is there");
    assert_eq!(String::from_utf8(counted).expect("a number"), swapped.to_string());
    assert!(swapped >= 15 && refused > 0 && swapped + refused == 120, "{swapped} swapped, {refused} refused");
}

#[test]
fn races_of_put_and_delete_end_in_what_both_gateways_see() {
    let site = site();
    let clients = site.plain();
    let bucket = bucket(&clients[0]);
    let (mut there, mut gone) = (0, 0);
    for round in 0..30_u64 {
        let path = format!("{bucket}/key-{round}");
        let bytes: Vec<Vec<u8>> =
            (0..3).map(|number| random(3 * round + number, [50, 20_000][round as usize % 2])).collect();
        clients[0].put(&path, &bytes[0]).expect("an answer").ok("the first");
        let start = Barrier::new(3);
        let created = std::thread::scope(|scope| {
            let (path, start, bytes, clients) = (&path, &start, &bytes, &clients);
            let (one, other) = (&clients[round as usize % 2], &clients[(round as usize + 1) % 2]);
            scope.spawn(move || (start.wait(), one.put(path, &bytes[1]).expect("an answer").ok("overwrite")));
            scope.spawn(move || (start.wait(), other.delete(path).expect("an answer").ok("delete")));
            let create = scope.spawn(move || (start.wait(), put_if(other, path, ("if-none-match", "*"), &bytes[2])).1);
            create.join().expect("an answer")
        });
        assert!(created.status == 200 || lost(&created), "{created:?}");
        let end = agreed(&clients, &path);
        match &end {
            None => gone += 1,
            Some(body) => {
                there += 1;
                let by_create = created.status == 200 && *body == bytes[2];
                assert!(by_create || *body == bytes[1], "round {round} ends in what nobody wrote last");
            }
        }
    }
    assert_eq!(there + gone, 30);
}

#[test]
fn of_two_uploads_that_create_a_key_one_does() {
    let site = site();
    let clients = site.plain();
    let bucket = bucket(&clients[0]);
    for round in 0..4_u64 {
        let path = format!("{bucket}/key-{round}");
        let uploads: Vec<(String, String)> =
            (0..2_usize).map(|number| begin(&clients[number], &path, number)).collect();
        let start = Barrier::new(2);
        let replies: Vec<Reply> = std::thread::scope(|scope| {
            let complete = |number: usize| {
                // Each through the gateway where it was not begun.
                let (client, path, start, uploads) = (&clients[1 - number], &path, &start, &uploads);
                scope.spawn(move || {
                    let (upload, etag) = &uploads[number];
                    let parts = format!(
                        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
                    );
                    let call = Call::new("POST", path).query("uploadId", upload).header("if-none-match", "*");
                    start.wait();
                    client.send(call.body(Body::Bytes(parts.as_bytes()))).expect("an answer")
                })
            };
            let threads: Vec<_> = (0..2).map(complete).collect();
            threads.into_iter().map(|thread| thread.join().expect("an answer")).collect()
        });
        let won: Vec<usize> = (0..2).filter(|number| replies[*number].status == 200).collect();
        assert!(won.len() == 1 && lost(&replies[1 - won[0]]), "round {round}: {replies:?}");
        assert_eq!(agreed(&clients, &path), Some(random(won[0] as u64, 40_000)));
    }
}

/// An upload with one part, and the part's ETag.
fn begin(client: &Client, path: &str, number: usize) -> (String, String) {
    let begun = client.send(Call::new("POST", path).query("uploads", "")).expect("an answer").ok("begin").text();
    let upload = between(&begun, "<UploadId>", "</UploadId>").to_owned();
    let bytes = random(number as u64, 40_000);
    let part = Call::new("PUT", path).query("uploadId", &upload).query("partNumber", "1").body(Body::Bytes(&bytes));
    let etag = client.send(part).expect("an answer").ok("a part").etag();
    (upload, etag)
}
