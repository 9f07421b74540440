//! Each request to a gateway by dice: what one has answered holds at the other
//! at once.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier};

use crate::shared::{bucket, free_name};
use crate::support::data::random;

const PART: u64 = 5 << 20;

async fn body(client: &Client, bucket: &str, key: &str) -> Vec<u8> {
    let got = client.get_object().bucket(bucket).key(key).send().await.expect("it is there");
    got.body.collect().await.expect("it is whole").to_vec()
}

/// All keys, whatever the number of pages.
async fn keys(client: &Client, bucket: &str) -> Vec<String> {
    let listed = client.list_objects_v2().bucket(bucket).send().await.expect("a list");
    listed.contents().iter().filter_map(|object| object.key().map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_gateway_has_stored_the_other_has_at_once() {
    let (site, bucket) = bucket().await;
    for round in 0..24_u64 {
        let key = format!("key-{}", round % 5);
        let size = [0, 900, 30_000, 400_000][round as usize % 4];
        let bytes = random(round, size);
        let (one, other) = site.pair();
        let put = one.put_object().bucket(&bucket).key(&key).body(bytes.clone().into()).send().await.expect("stored");
        assert_eq!(body(other, &bucket, &key).await, bytes, "round {round}");
        let head = other.head_object().bucket(&bucket).key(&key).send().await.expect("it is there");
        assert_eq!((head.e_tag(), head.content_length()), (put.e_tag(), Some(size as i64)));
        assert!(keys(other, &bucket).await.contains(&key));
        if round % 3 == 0 {
            let (one, other) = site.pair();
            one.delete_object().bucket(&bucket).key(&key).send().await.expect("deleted");
            let gone = other.get_object().bucket(&bucket).key(&key).send().await.expect_err("it was deleted");
            assert_eq!(gone.code(), Some("NoSuchKey"));
            assert!(!keys(other, &bucket).await.contains(&key));
        }
    }
    let large = random(1, 20_000_000);
    let (one, other) = site.pair();
    one.put_object().bucket(&bucket).key("large").body(large.clone().into()).send().await.expect("stored");
    assert!(body(other, &bucket, "large").await == large);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_parts_of_an_upload_come_through_both() {
    let (site, bucket) = bucket().await;
    let (one, other) = site.pair();
    let begun = one.create_multipart_upload().bucket(&bucket).key("k").send().await.expect("begun");
    let upload = begun.upload_id().expect("an id");
    let (mut parts, mut whole) = (Vec::new(), Vec::new());
    for (number, size) in [(1, PART), (2, PART + 77), (3, PART), (4, 12_345)] {
        let bytes = random(number, size);
        whole.extend_from_slice(&bytes);
        let (here, there) = if number % 2 == 1 { (one, other) } else { (other, one) };
        let sent = here.upload_part().bucket(&bucket).key("k").upload_id(upload).part_number(number as i32);
        let sent = sent.body(ByteStream::from(bytes)).send().await.expect("a part");
        let listed = there.list_parts().bucket(&bucket).key("k").upload_id(upload).send().await.expect("its parts");
        let last = listed.parts().last().expect("at least the one that was just sent");
        assert_eq!((listed.parts().len() as u64, last.e_tag()), (number, sent.e_tag()));
        parts.push(CompletedPart::builder().part_number(number as i32).set_e_tag(sent.e_tag).build());
    }
    let uploads = other.list_multipart_uploads().bucket(&bucket).send().await.expect("a list");
    assert_eq!(uploads.uploads().iter().map(|upload| upload.upload_id()).collect::<Vec<_>>(), [Some(upload)]);
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let complete = other.complete_multipart_upload().bucket(&bucket).key("k").upload_id(upload).multipart_upload(parts);
    let etag = complete.send().await.expect("completed").e_tag;
    assert!(body(one, &bucket, "k").await == whole);
    let head = one.head_object().bucket(&bucket).key("k").send().await.expect("it is there");
    assert_eq!(head.e_tag, etag);

    let begun = other.create_multipart_upload().bucket(&bucket).key("k").send().await.expect("begun");
    let upload = begun.upload_id().expect("an id");
    one.abort_multipart_upload().bucket(&bucket).key("k").upload_id(upload).send().await.expect("aborted");
    let late = other.upload_part().bucket(&bucket).key("k").upload_id(upload).part_number(1);
    let late = late.body(ByteStream::from_static(b"late")).send().await.expect_err("it was aborted");
    assert_eq!(late.code(), Some("NoSuchUpload"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_page_of_a_list_comes_from_another_gateway() {
    let (site, bucket) = bucket().await;
    let expected: Vec<String> = (0..25).map(|number| format!("folder-{}/{number:02}", number / 5)).collect();
    for key in &expected {
        site.any()
            .put_object()
            .bucket(&bucket)
            .key(key)
            .body(ByteStream::from_static(b"x"))
            .send()
            .await
            .expect("stored");
    }
    for delimiter in [None, Some("/".to_owned())] {
        let (mut found, mut token, mut pages) = (Vec::new(), None, 0);
        loop {
            let (one, other) = site.pair();
            let here = if pages % 2 == 0 { one } else { other };
            let page = here.list_objects_v2().bucket(&bucket).max_keys(2).set_delimiter(delimiter.clone());
            let page = page.set_continuation_token(token).send().await.expect("a page");
            found.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
            found.extend(page.common_prefixes().iter().filter_map(|prefix| prefix.prefix().map(str::to_owned)));
            (token, pages) = (page.next_continuation_token, pages + 1);
            if token.is_none() {
                break;
            }
        }
        let folders = || (0..5).map(|number| format!("folder-{number}/")).collect();
        assert_eq!(found, delimiter.map_or_else(|| expected.clone(), |_| folders()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_are_made_of_what_another_gateway_has_just_stored() {
    let (site, bucket) = bucket().await;
    for (round, size) in [500, 50_000, 6_000_000].into_iter().enumerate() {
        let (one, other) = site.pair();
        let (bytes, source) = (random(round as u64, size), format!("{bucket}/source"));
        one.put_object().bucket(&bucket).key("source").body(bytes.clone().into()).send().await.expect("stored");
        other.copy_object().bucket(&bucket).key("copy").copy_source(&source).send().await.expect("copied");
        one.delete_object().bucket(&bucket).key("source").send().await.expect("deleted");
        assert!(body(one, &bucket, "copy").await == bytes);
        let gone = other.copy_object().bucket(&bucket).key("again").copy_source(&source).send().await;
        assert_eq!(gone.expect_err("it was deleted").code(), Some("NoSuchKey"));
    }
    let (one, other) = site.pair();
    let begun = one.create_multipart_upload().bucket(&bucket).key("parts").send().await.expect("begun");
    let upload = begun.upload_id().expect("an id");
    let copy = other.upload_part_copy().bucket(&bucket).key("parts").upload_id(upload).part_number(1);
    let part = copy.copy_source(format!("{bucket}/copy")).copy_source_range("bytes=10-5999999").send().await;
    let etag = part.expect("copied").copy_part_result.and_then(|part| part.e_tag);
    let part = CompletedPart::builder().part_number(1).set_e_tag(etag).build();
    let parts = CompletedMultipartUpload::builder().parts(part).build();
    let complete =
        one.complete_multipart_upload().bucket(&bucket).key("parts").upload_id(upload).multipart_upload(parts);
    complete.send().await.expect("completed");
    assert!(body(other, &bucket, "parts").await == random(2, 6_000_000)[10..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_are_deleted_at_one_and_gone_at_the_other() {
    let (site, bucket) = bucket().await;
    let put = |number: u32| {
        let put = site.any().put_object().bucket(&bucket).key(format!("{number:02}"));
        put.body(ByteStream::from_static(b"x")).send()
    };
    for number in 0..30 {
        put(number).await.expect("stored");
    }
    let (one, other) = site.pair();
    let identify = |number| ObjectIdentifier::builder().key(format!("{number:02}")).build().expect("a key");
    let delete = Delete::builder().set_objects(Some((0..40).step_by(2).map(identify).collect())).build();
    let deleted = one.delete_objects().bucket(&bucket).delete(delete.expect("keys")).send().await.expect("deleted");
    assert_eq!((deleted.deleted().len(), deleted.errors().len()), (20, 0));
    let left: Vec<String> = (0..30).filter(|number| number % 2 == 1).map(|number| format!("{number:02}")).collect();
    assert_eq!(keys(other, &bucket).await, left);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buckets_are_made_and_removed_through_either() {
    let (site, _) = bucket().await;
    for _ in 0..6 {
        let ((one, other), name) = (site.pair(), free_name());
        one.create_bucket().bucket(&name).send().await.expect("made");
        other.head_bucket().bucket(&name).send().await.expect("it is there");
        let listed = other.list_buckets().send().await.expect("a list");
        assert!(listed.buckets().iter().any(|bucket| bucket.name() == Some(&name)));
        let again = other.create_bucket().bucket(&name).send().await.expect_err("it is there");
        assert_eq!(again.code(), Some("BucketAlreadyOwnedByYou"));
        let put =
            |client: &Client| client.put_object().bucket(&name).key("k").body(ByteStream::from_static(b"x")).send();
        put(other).await.expect("stored");
        let full = one.delete_bucket().bucket(&name).send().await.expect_err("something is in it");
        assert_eq!(full.code(), Some("BucketNotEmpty"));
        one.delete_object().bucket(&name).key("k").send().await.expect("deleted");
        other.delete_bucket().bucket(&name).send().await.expect("removed");
        assert_eq!(put(one).await.expect_err("it is gone").code(), Some("NoSuchBucket"));
        let gone = one.list_objects_v2().bucket(&name).send().await.expect_err("it is gone");
        assert_eq!(gone.code(), Some("NoSuchBucket"));
    }
}

#[test]
fn all_gateways_have_one_pair_of_root_keys() {
    let site = crate::shared::site();
    let [one, other] = &site.cluster().gateways[..] else { panic!("two gateways") };
    assert_ne!(one.access().endpoint, other.access().endpoint);
    assert_eq!((&one.access().key, &one.access().secret), (&other.access().key, &other.access().secret));
}
