//! What is not built is refused and changes nothing.

use crate::kit::site;

#[tokio::test]
async fn sub_resources_that_are_not_built_change_nothing() {
    let site = site().await;
    site.put("k", "before").await;
    for resource in [
        "acl",
        "policy",
        "lifecycle",
        "cors",
        "tagging",
        "encryption",
        "website",
        "replication",
        "notification",
        "logging",
        "analytics",
        "inventory",
        "metrics",
        "intelligent-tiering",
        "ownershipControls",
        "publicAccessBlock",
        "accelerate",
        "requestPayment",
        "versioning",
        "object-lock",
        "unheard-of",
    ] {
        for method in ["PUT", "DELETE"] {
            site.at_bucket(method).query(resource, "").send().await.expect_error(501, "NotImplemented");
        }
    }
    for resource in [
        "acl",
        "tagging",
        "encryption",
        "retention",
        "legal-hold",
        "torrent",
        "restore",
        "select",
        "renameObject",
        "unheard-of",
    ] {
        for method in ["PUT", "DELETE", "POST"] {
            let answer = site.object(method, "k").query(resource, "").body("after").send().await;
            answer.expect_error(501, "NotImplemented");
        }
    }
    site.object("PUT", "k")
        .query("x-amz-acl", "public-read")
        .body("after")
        .send()
        .await
        .expect_error(501, "NotImplemented");
    site.at_bucket("POST")
        .header("content-type", "multipart/form-data; boundary=x")
        .body("--x--")
        .send()
        .await
        .expect(501);
    assert_eq!(site.get("k").await, b"before");
    assert_eq!(site.content().await.len(), 1);
}

#[tokio::test]
async fn methods_that_s3_does_not_have() {
    let site = site().await;
    site.put("k", "before").await;
    for (method, path) in [("PATCH", "/k"), ("POST", "/k"), ("PATCH", ""), ("PURGE", "/k")] {
        let path = format!("/{}{path}", site.bucket);
        site.at(method, &path).body("after").send().await.expect_error(405, "MethodNotAllowed");
    }
    for method in ["PUT", "DELETE", "POST"] {
        site.at(method, "/").send().await.expect_error(405, "MethodNotAllowed");
    }
    assert_eq!(site.get("k").await, b"before");
}

#[tokio::test]
async fn another_owner_is_refused() {
    let site = site().await;
    let answer = site.object("PUT", "k").header("x-amz-expected-bucket-owner", "111122223333").body("x").send().await;
    answer.expect_error(403, "AccessDenied");
    assert!(!site.exists("k").await);
}
