//! s3cmd: put, get, sync, multipart, cp, del.

use crate::support::data;
use crate::support::process::Invocation;
use crate::visit::Visit;

#[test]
fn puts_syncs_and_deletes() {
    let visit = Visit::new("s3cmd");
    let run = |arguments: &[&str]| s3cmd(&visit).args(arguments).run().text();
    let root = format!("s3://{}", visit.bucket);
    let (from, to) = (visit.work.folder("from"), visit.work.folder("to"));
    let (from_text, to_text) = (format!("{}/", from.display()), format!("{}/", to.display()));
    data::odd_tree(&from, 1200);
    data::plain_tree(&from.join("plain"), 1300, 30);

    run(&["mb", &root]);
    run(&["sync", &from_text, &format!("{root}/tree/")]);
    run(&["sync", &format!("{root}/tree/"), &to_text]);
    data::assert_same_tree(&from, &to);
    std::fs::remove_file(from.join("plus+plus.txt")).expect("the tree has it");
    run(&["sync", "--delete-removed", &from_text, &format!("{root}/tree/")]);
    run(&["sync", "--delete-removed", &format!("{root}/tree/"), &to_text]);
    data::assert_same_tree(&from, &to);

    let big = visit.work.join("big.bin");
    let sum = data::random_file(&big, 1400, 60 * data::MIB + 5);
    run(&["put", "--multipart-chunk-size-mb=5", big.to_str().expect("UTF-8"), &format!("{root}/big.bin")]);
    run(&["cp", &format!("{root}/big.bin"), &format!("{root}/copy of big.bin")]);
    let back = visit.work.join("back.bin");
    run(&["get", &format!("{root}/copy of big.bin"), back.to_str().expect("UTF-8")]);
    assert_eq!(data::sha256_file(&back), sum);
    run(&["mv", &format!("{root}/copy of big.bin"), &format!("{root}/moved.bin")]);
    let listing = run(&["ls", &format!("{root}/")]);
    assert!(listing.contains("/moved.bin") && !listing.contains("copy of"), "{listing}");

    run(&["del", "--recursive", "--force", &format!("{root}/")]);
    assert_eq!(run(&["ls", "--recursive", &format!("{root}/")]), "");
    run(&["rb", &root]);
}

fn s3cmd(visit: &Visit) -> Invocation {
    let access = visit.access();
    let host = access.authority();
    visit
        .call("s3cmd")
        .args([
            "--config=/dev/null",
            "--no-ssl",
            "--no-progress",
            "--access_key",
            &access.key,
            "--secret_key",
            &access.secret,
        ])
        .args(["--region", &access.region, "--host", host, "--host-bucket", host])
}
