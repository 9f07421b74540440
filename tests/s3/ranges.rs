//! Parts of objects: Range and partNumber.

use crate::kit::{random, site};

/// RFC 9110, 14.2, as S3 has it: one range; what makes no sense is ignored.
#[tokio::test]
async fn a_range_gives_these_bytes() {
    let site = site().await;
    for size in [10_usize, 100_000, 700_001] {
        let body = random(size as u64, size);
        site.put("k", body.clone()).await;
        let last = size - 1;
        for (range, from, to) in [
            ("bytes=0-0".to_owned(), 0, 0),
            ("bytes=0-3".to_owned(), 0, 3),
            ("bytes=3-".to_owned(), 3, last),
            ("bytes=-3".to_owned(), size - 3, last),
            (format!("bytes={last}-"), last, last),
            (format!("bytes=5-{}", size * 10), 5, last),
            (format!("bytes=-{}", size * 2), 0, last),
            (format!("bytes={}-{}", size / 3, size / 2), size / 3, size / 2),
        ] {
            for method in ["GET", "HEAD"] {
                let answer = site.object(method, "k").header("range", &range).send().await.expect(206);
                assert_eq!(answer.header("content-range"), format!("bytes {from}-{to}/{size}"), "{range}");
                assert_eq!(answer.header("content-length"), (to - from + 1).to_string(), "{range}");
                assert!(method == "HEAD" || answer.body == body[from..=to], "{range} of {size}");
            }
        }
        for range in ["bytes=4-2", "bytes=a-b", "lines=0-1", "bytes=0-1,3-4", "bytes=-", "0-1"] {
            let answer = site.object("GET", "k").header("range", range).send().await.expect(200);
            assert!(answer.body == body && !answer.has_header("content-range"), "{range}");
        }
        for range in [format!("bytes={size}-"), format!("bytes={size}-{}", size + 5), "bytes=-0".to_owned()] {
            let answer = site.object("GET", "k").header("range", &range).send().await;
            answer.expect_error(416, "InvalidRange");
            assert_eq!(answer.header("content-range"), format!("bytes */{size}"), "{range}");
            assert_eq!(answer.xml("ActualObjectSize"), size.to_string());
        }
    }
}

#[tokio::test]
async fn an_empty_object_has_no_range() {
    let site = site().await;
    site.put("k", "").await;
    for range in ["bytes=0-0", "bytes=0-", "bytes=5-7"] {
        site.object("GET", "k").header("range", range).send().await.expect_error(416, "InvalidRange");
    }
    assert_eq!(site.object("HEAD", "k").header("range", "bytes=0-").send().await.expect(416).body, b"");
}

#[tokio::test]
async fn random_ranges_are_right() {
    let site = site().await;
    let body = random(5, 9 << 20);
    site.put("k", body.clone()).await;
    let dice = random(6, 8 * 40);
    for pair in dice.chunks(8) {
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four")) as usize;
        let first = number(&pair[..4]) % body.len();
        let last = (first + number(&pair[4..]) % 400_000).min(body.len() - 1);
        let answer = site.object("GET", "k").header("range", format!("bytes={first}-{last}")).send().await.expect(206);
        assert!(answer.body == body[first..=last], "{first}-{last}");
    }
}

#[tokio::test]
async fn parts_are_read_by_number() {
    let site = site().await;
    let parts = [random(1, 5 << 20), random(2, (5 << 20) + 70_001), random(3, 17)];
    crate::uploads::upload(&site, "k", &[1, 5, 9], &parts).await;
    let whole = parts.concat();
    let mut first = 0;
    for (number, part) in [1, 5, 9].into_iter().zip(&parts) {
        let get = site.object("GET", "k").query("partNumber", &number.to_string()).send().await.expect(206);
        assert!(get.body == *part, "part {number}");
        assert_eq!(get.header("content-range"), format!("bytes {first}-{}/{}", first + part.len() - 1, whole.len()));
        assert_eq!(get.header("x-amz-mp-parts-count"), "3");
        let head = site.object("HEAD", "k").query("partNumber", &number.to_string()).send().await.expect(206);
        assert_eq!(head.header("content-length"), part.len().to_string());
        first += part.len();
    }
    for number in ["2", "10", "10000"] {
        site.object("GET", "k").query("partNumber", number).send().await.expect_error(416, "InvalidPartNumber");
    }
    for number in ["0", "-1", "10001", "x"] {
        site.object("GET", "k").query("partNumber", number).send().await.expect_error(400, "InvalidArgument");
    }
    let both = site.object("GET", "k").query("partNumber", "1").header("range", "bytes=0-1").send().await;
    both.expect_error(400, "InvalidRequest");
    let across = (5 << 20) - 10;
    let range = format!("bytes={across}-{}", across + 30);
    let answer = site.object("GET", "k").header("range", range).send().await.expect(206);
    assert_eq!(answer.body, whole[across..=across + 30]);
    site.put("plain", "abc").await;
    let answer = site.object("GET", "plain").query("partNumber", "1").send().await.expect(206);
    assert_eq!(
        (answer.body, answer.headers.iter().any(|(name, _)| name == "x-amz-mp-parts-count")),
        (b"abc".to_vec(), false)
    );
    site.object("GET", "plain").query("partNumber", "2").send().await.expect_error(416, "InvalidPartNumber");
}
