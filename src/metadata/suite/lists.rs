//! Lists of the suite: pages of any size, with any prefix and delimiter, give
//! what a sorted set gives.

use std::collections::BTreeSet;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::random;
use super::together::small;
use crate::metadata::*;
use crate::types::{BucketName, UnixMillis, WriteCondition};

/// What a page holds, each with whether it is a common prefix.
fn expected(keys: &BTreeSet<String>, list: &ListObjects) -> Vec<(Vec<u8>, bool)> {
    let mut entries = Vec::new();
    for key in keys.iter().map(String::as_bytes) {
        let Some(rest) = key.strip_prefix(&list.prefix[..]) else { continue };
        let delimiter = list.delimiter.as_deref();
        let at = delimiter.and_then(|delimiter| rest.windows(delimiter.len()).position(|window| window == delimiter));
        let entry = match at {
            Some(at) => (key[..list.prefix.len() + at + delimiter.unwrap().len()].to_vec(), true),
            None => (key.to_vec(), false),
        };
        if list.after.as_ref().is_none_or(|after| entry.0 > *after) && entries.last() != Some(&entry) {
            entries.push(entry);
        }
    }
    entries
}

pub(super) async fn pages_give_what_is_there(metadata: Metadata) {
    let mut dice = SmallRng::seed_from_u64(random::seed());
    let bucket = BucketName::new("suite").unwrap();
    metadata.write(CreateBucket { name: bucket.clone(), now: UnixMillis(1) }).await.unwrap();
    let parts = ["a", "b", "/", "/", "//", "\u{0}", "ü", "\u{10FFFF}", "-", "key"];
    let mut keys = BTreeSet::new();
    for _ in 0..400 {
        let key: String = (0..dice.random_range(1..7)).map(|_| *parts.choose(&mut dice).unwrap()).collect();
        metadata.write(small(&key, "etag".into(), WriteCondition::default())).await.unwrap().unwrap();
        keys.insert(key);
    }
    let some = |dice: &mut SmallRng| keys.iter().nth(dice.random_range(0..keys.len())).unwrap().clone().into_bytes();
    for _ in 0..300 {
        let mut prefix = some(&mut dice);
        prefix.truncate(dice.random_range(0..3));
        let delimiter = [None, Some("/"), Some("/"), Some("//"), Some("a"), Some("\u{0}"), Some("ü")].choose(&mut dice);
        let mut list = ListObjects {
            bucket: bucket.clone(),
            prefix,
            delimiter: delimiter.unwrap().map(|text| text.as_bytes().to_vec()),
            after: dice.random_bool(0.3).then(|| some(&mut dice)),
            limit: [1, 2, 3, 7, 50, 150, 1000][dice.random_range(0..7)],
        };
        let expected = expected(&keys, &list);
        let mut found = Vec::new();
        loop {
            let page = metadata
                .read(ListObjects {
                    bucket: bucket.clone(),
                    prefix: list.prefix.clone(),
                    delimiter: list.delimiter.clone(),
                    after: list.after.clone(),
                    ..list
                })
                .await
                .unwrap()
                .unwrap();
            let mut entries: Vec<_> = page.rows.iter().map(|row| (row.key.clone().into_bytes(), false)).collect();
            entries.extend(page.prefixes.into_iter().map(|prefix| (prefix, true)));
            entries.sort();
            assert!(entries.len() == list.limit as usize || page.next.is_none(), "a page ends early");
            found.extend(entries);
            list.after = match page.next {
                Some(next) => Some(next),
                None => break,
            };
        }
        assert_eq!(found, expected, "{:?} {:?}", list.prefix, list.delimiter);
    }
    metadata.close().await;
}
