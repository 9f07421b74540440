//! A rolling restart of everything under load: every node in its turn, and the
//! gateway twice. No request is lost beyond what clients try again by
//! themselves: AWS's SDK, with the pauses of its own dice when they fall highest. With dice
//! one run in some hundreds would ask five times before a gateway is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use rustix::process::Signal;

use super::figures::{Figures, is_whole};
use crate::sdk;
use crate::support::community::{Gateway, SOON};
use crate::support::data::{random, sha256};
use crate::support::{poll, seed};

const NODES: usize = 6;
const TASKS: u64 = 4;
/// Between five attempts, as boto3 and AWS CLI 1 make them; the SDK for Rust and AWS CLI 2 try three times.
const PAUSES_S: [u64; 4] = [1, 2, 4, 8];
const BUCKET: &str = "rolling";
const SIZES: [u64; 4] = [700, 40_000, 300_000, 2_500_000];

#[test]
fn everything_is_restarted_and_no_request_is_lost() {
    let seed = seed("rolling");
    let mut gateway = Gateway::start(&["--scheme", "3/4/5/6"]);
    let mut nodes = gateway.nodes(NODES);
    gateway.client().put(&format!("/{BUCKET}"), b"").expect("it runs").ok("create the bucket");
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let client = runtime.block_on(async { sdk::client(gateway.access()) });
    let (over, stored) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let tasks: Vec<_> = (0..TASKS)
        .map(|number| runtime.spawn(go_on(client.clone(), seed ^ (number << 32), over.clone(), stored.clone())))
        .collect();
    wait_for(&stored, 40);
    let (begun, mut figures) = (Instant::now(), Figures::default());
    gateway.stop(Signal::TERM).filter(|status| status.success()).expect("it ends well");
    gateway.start_again();
    gateway.wait_connected(NODES);
    for node in &mut nodes {
        node.restart(Signal::TERM);
        gateway.wait_connected(NODES);
        wait_for(&stored, 5);
    }
    gateway.stop(Signal::TERM).filter(|status| status.success()).expect("it ends well");
    gateway.start_again();
    gateway.wait_connected(NODES);
    wait_for(&stored, 20);
    over.store(true, Ordering::Relaxed);
    let mut kept = Vec::new();
    for task in tasks {
        let (objects, acknowledged) = runtime.block_on(task).expect("a request was lost");
        figures.reads += acknowledged;
        figures.acknowledged += acknowledged;
        kept.extend(objects);
    }
    for Stored { key, sha256: digest, length } in &kept {
        let reply = gateway.client().get(&format!("/{BUCKET}/{key}")).expect("it runs").ok(key);
        assert_eq!((reply.body.len() as u64, sha256(&reply.body)), (*length, digest.clone()), "{key}");
        assert_eq!(reply.header("x-amz-meta-token"), key, "{key}");
    }
    gateway.wait_status("all is well", |status| is_whole(status, 0));
    figures.healthy_after.push(begun.elapsed());
    figures.show("rolling", &gateway);
    assert_eq!(gateway.json(&["status"])["segments"]["pieces_repaired"], 0, "a restart is no loss");
    assert_eq!(gateway.complaints(&["503"]), Vec::<String>::new());
}

struct Stored {
    key: String,
    sha256: String,
    length: u64,
}

/// Writes and reads back until it is over; panics at the first request that
/// fails. Answers what is left, and how many writes there were.
async fn go_on(client: Client, seed: u64, over: Arc<AtomicBool>, stored: Arc<AtomicUsize>) -> (Vec<Stored>, usize) {
    let (mut kept, mut count) = (Vec::<Stored>::new(), 0);
    while !over.load(Ordering::Relaxed) {
        let body = random(seed + count as u64, SIZES[count % SIZES.len()]);
        let object = Stored { key: format!("{seed:x}-{count}"), sha256: sha256(&body), length: body.len() as u64 };
        let put = || {
            let put = client.put_object().bucket(BUCKET).key(&object.key).metadata("token", &object.key);
            put.body(ByteStream::from(body.clone())).send()
        };
        patiently(put).await.expect("a PUT is not lost");
        let known = kept.get(count / 2).unwrap_or(&object);
        let get = || client.get_object().bucket(BUCKET).key(&known.key).send();
        let got = patiently(get).await.expect("a GET is not lost");
        let body = got.body.collect().await.expect("an answer that begins ends").into_bytes();
        assert_eq!(sha256(&body), known.sha256, "{} has changed", known.key);
        kept.push(object);
        count += 1;
        stored.fetch_add(1, Ordering::Relaxed);
        if count.is_multiple_of(5)
            && let Some(old) = kept.pop()
        {
            let delete = || client.delete_object().bucket(BUCKET).key(&old.key).send();
            patiently(delete).await.expect("a DELETE is not lost");
        }
    }
    (kept, count)
}

/// Sends a request until it is answered, as often as the SDKs do, and because of what they do.
async fn patiently<T, E, F>(send: impl Fn() -> F) -> Result<T, SdkError<E, HttpResponse>>
where
    F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
{
    for pause_s in PAUSES_S {
        let outcome = send().await;
        if !outcome.as_ref().is_err_and(may_pass) {
            return outcome;
        }
        drop(outcome);
        tokio::time::sleep(Duration::from_secs(pause_s)).await;
    }
    send().await
}

fn may_pass<E>(error: &SdkError<E, HttpResponse>) -> bool {
    error.raw_response().is_none_or(|answer| matches!(answer.status().as_u16(), 500 | 502 | 503 | 504))
}

fn wait_for(stored: &AtomicUsize, more: usize) {
    let goal = stored.load(Ordering::Relaxed) + more;
    let reached = || (stored.load(Ordering::Relaxed) >= goal).then_some(());
    poll(SOON, Duration::from_millis(20), reached).expect("the load goes on");
}
