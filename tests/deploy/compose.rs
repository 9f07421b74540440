//! `docker/compose.yml` and `docker/compose.small.yml`, as docs/deploy.md
//! tells to use them, and what happens when parts of it are killed.

use std::time::Duration;

use serde_json::Value;

use crate::stack::Stack;
use crate::support::cairn::{Access, tell};
use crate::support::client::Client;
use crate::support::data::{random, sha256};
use crate::support::load::{Load, figures};

/// How long a gateway that a test has killed may be missed.
const BACK_WITHIN: Duration = Duration::from_secs(90);

/// One stack for all of it, because a start takes longer than most steps.
#[test]
fn one_machine_runs_everything() {
    let stack = Stack::new();
    let listed = stack.begin_with("Start");
    assert!(listed.contains("compose.yml"), "{listed}");
    for service in ["gateway", "worker", "node", "registry", "backup"] {
        stack.wait_for_health(service);
    }
    no_secret_is_told(&stack);
    both_gateways_have_what_either_took(&stack);
    stack.go_on_with("Push an image");
    let digest = image_is_pulled_as_it_was_pushed(&stack);
    let printed = stack.go_on_with("Back up a database, and restore it");
    assert!(printed.contains("\n 100000\n"), "all rows are back: {printed}");
    a_dump_that_is_cut_off_is_none(&stack);
    a_dump_that_is_damaged_is_found(&stack);
    a_node_and_a_gateway_are_killed_under_load(&stack);
    stack.go_on_with("More nodes");
    let printed = stack.go_on_with("Stop, start, remove");
    assert!(printed.contains("12 of 12 connected"), "every folder has a node again: {printed}");
    redirects_lead_to_a_gateway(&stack, &digest);
}

#[test]
fn one_container_serves() {
    let stack = Stack::of_cairn_alone();
    stack.write("credentials", "");
    stack.shell(&format!("export CAIRN_S3_PORT=9010\n{}", crate::document::blocks_below("One container")));
    let printed = stack.shell("cat s3.env");
    let access = Access::parse(&printed).expect("the keys are in s3.env");
    let client = Client::new(&Access { endpoint: "http://127.0.0.1:9010".to_owned(), ..access });
    let body = random(9010, 5_000_000);
    stack.engine.inside(|| {
        client.put("/files", b"").expect("an answer").ok("make a bucket");
        client.put("/files/object", &body).expect("an answer").ok("put");
    });
    let small = "docker compose -f compose.small.yml -p small";
    stack.shell(&format!(
        "export CAIRN_S3_PORT=9010\n{small} down\n{small} up -d\n\
         until [ \"$(docker inspect --format '{{{{.State.Health.Status}}}}' \"$({small} ps -q cairn)\")\" = healthy ]; do sleep 0.5; done"
    ));
    let again = stack.engine.inside(|| client.get("/files/object").expect("an answer").ok("get"));
    assert!(again.body == body, "what was stored is there after down and up");
}

/// Container logs are read by many: no key may stand in them.
fn no_secret_is_told(stack: &Stack) {
    let secret = stack.shell("sed -n 's/aws_secret_access_key = //p' credentials");
    let logs = stack.shell("docker compose logs --no-color");
    assert!(logs.contains("a node has joined"), "{logs}");
    assert!(!logs.contains(secret.trim()), "the secret key is in a log");
    let inspected = stack.shell("docker inspect $(docker compose ps -q)");
    assert!(!inspected.contains(secret.trim()), "the secret key is in a container's settings");
}

fn both_gateways_have_what_either_took(stack: &Stack) {
    let clients = stack.clients();
    stack.engine.inside(|| {
        for (at, client) in clients.iter().enumerate() {
            let body = random(at as u64, 3_000_000);
            let path = format!("/files/from-{at}");
            client.put(&path, &body).expect("an answer").ok("put");
            let read = clients[1 - at].get(&path).expect("an answer").ok("get");
            assert!(read.body == body, "the other gateway has it");
        }
    });
}

/// Skopeo fetches the image anew and checks every digest.
fn image_is_pulled_as_it_was_pushed(stack: &Stack) -> String {
    let names = stack.inspect("127.0.0.1:5000/cairn:latest", "{{index .RepoDigests 0}}");
    let digest = names.split_once('@').expect("a pushed image has a digest").1.to_owned();
    assert_eq!(pulled_digest(stack), digest, "what is pulled is what was pushed");
    digest
}

fn pulled_digest(stack: &Stack) -> String {
    let folder = stack.engine.work().join("pulled");
    let _ = std::fs::remove_dir_all(&folder);
    let source = "docker://127.0.0.1:5000/cairn:latest";
    let copy = stack.program("skopeo").args(["copy", "--src-tls-verify=false", source]);
    copy.arg(format!("dir:{}", folder.display())).run();
    let manifest = std::fs::read(folder.join("manifest.json")).expect("skopeo has written it");
    format!("sha256:{}", sha256(&manifest))
}

/// A database that goes away while it is dumped.
fn a_dump_that_is_cut_off_is_none(stack: &Stack) {
    let before = stack.shell("docker compose exec -T backup backup list");
    let after = stack.shell(
        "if docker compose exec -T -e PGHOST=nowhere backup backup dump; then exit 1; fi\n\
         docker compose exec -T backup backup list",
    );
    assert_eq!(before, after, "a dump that failed is not listed");
}

/// A dump with a piece missing from its end, put there behind the service's back.
fn a_dump_that_is_damaged_is_found(stack: &Stack) {
    stack.shell(
        "aws='aws --endpoint-url http://127.0.0.1:9000 s3'\n\
         newest=$(docker compose exec -T backup backup list | tail -n 1 | tr -d '\\r')\n\
         $aws cp --quiet s3://backups/shop/$newest whole.dump\n\
         head -c 20000 whole.dump | $aws cp - s3://backups/shop/9999-damaged.dump\n\
         if docker compose exec -T backup backup check; then echo 'a damaged dump passes' >&2; exit 1; fi\n\
         docker compose exec -T backup backup check $newest\n\
         if docker compose exec -T backup backup restore; then echo 'a damaged dump is restored' >&2; exit 1; fi\n\
         docker compose exec -T app psql -U shop -tAc 'SELECT count(*) FROM orders' | grep -qx 100000\n\
         $aws rm s3://backups/shop/9999-damaged.dump",
    );
}

fn a_node_and_a_gateway_are_killed_under_load(stack: &Stack) {
    let clients = stack.clients();
    let gateways = stack.containers("gateway");
    let publishes = |id: &&String| stack.inspect(id, "{{json .NetworkSettings.Ports}}").contains("\"9001\"");
    let (gateway, node) = (gateways.iter().find(publishes).expect("one has the port"), &stack.containers("node")[2]);
    let kill = |id: &str| stack.engine.docker(["kill", id]).run();

    let load = stack.engine.inside(|| Load::start(&clients, "under-load", 4));
    load.wait_for(20, &[0, 1], BACK_WITHIN);
    kill(node);
    load.wait_for(20, &[0, 1], BACK_WITHIN);
    kill(gateway);
    load.wait_for(40, &[0], BACK_WITHIN);
    stack.shell("docker compose up -d");
    load.wait_for(20, &[0, 1], BACK_WITHIN);
    stack.wait_for_health("node");
    let book = stack.engine.inside(|| load.finish(&clients));
    tell(&format!("killed a node and a gateway: {}", figures(&book)));
}

/// Whoever pulls gets the layers from a gateway, by an address that is signed.
fn redirects_lead_to_a_gateway(stack: &Stack, digest: &str) {
    // The address of the machine, which containers and clients reach alike.
    let address = "172.17.0.1";
    stack.write(
        ".env",
        &format!("CAIRN_BIND=0.0.0.0\nREGISTRY_REDIRECT_DISABLE=false\nREGISTRY_S3_ENDPOINT=http://{address}:9000\n"),
    );
    stack.shell("docker compose up -d --scale node=12");
    stack.wait_for_health("registry");
    assert_eq!(pulled_digest(stack), digest, "what is pulled is what was pushed");
    let manifest = std::fs::read(stack.engine.work().join("pulled/manifest.json")).expect("it was pulled");
    let manifest: Value = serde_json::from_slice(&manifest).expect("a manifest is JSON");
    let layer = manifest["layers"][0]["digest"].as_str().expect("an image has a layer");
    let url = format!("http://127.0.0.1:5000/v2/cairn/blobs/{layer}");
    let head =
        stack.program("curl").args(["--silent", "--dump-header", "-", "--output", "/dev/null", &url]).run().text();
    assert!(head.starts_with("HTTP/1.1 307"), "{head}");
    assert!(head.contains(&format!("Location: http://{address}:9000/images/")), "{head}");
}
