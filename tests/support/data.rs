//! Data worth storing: random so that nothing compresses or repeats, from a
//! seed so that a failure can be looked at again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use rand::{RngCore as _, SeedableRng as _, rngs::SmallRng};

/// One mebibyte.
pub const MIB: u64 = 1 << 20;

/// `length_bytes` random bytes.
pub fn random(seed: u64, length_bytes: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length_bytes).expect("test data fits in memory")];
    SmallRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Write `length_bytes` random bytes to `path`; the SHA-256 of them in hex.
pub fn random_file(path: &Path, seed: u64, length_bytes: u64) -> String {
    let mut dice = SmallRng::seed_from_u64(seed);
    let mut file = File::create(path).unwrap_or_else(|error| panic!("cannot create {}: {error}", path.display()));
    let mut hash = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 20];
    let mut left = length_bytes;
    while left > 0 {
        let take = usize::try_from(left.min(MIB)).expect("at most a mebibyte");
        dice.fill_bytes(&mut buffer[..take]);
        hash.update(&buffer[..take]);
        file.write_all(&buffer[..take]).expect("room for test data");
        left -= take as u64;
    }
    hex(hash.finish().as_ref())
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(aws_lc_rs::digest::digest(&SHA256, bytes).as_ref())
}

/// SHA-256 of a file's content, in hex.
pub fn sha256_file(path: &Path) -> String {
    let mut file = File::open(path).unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()));
    let mut hash = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let got = file.read(&mut buffer).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        if got == 0 {
            return hex(hash.finish().as_ref());
        }
        hash.update(&buffer[..got]);
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every file below `root` with its SHA-256, by path relative to `root`.
pub fn digests_of_tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
        for entry in entries {
            let entry = entry.expect("a folder entry");
            let kind = entry.file_type().expect("an entry has a type");
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let name = entry.path().strip_prefix(root).expect("below the root").to_owned();
                found.insert(name, sha256_file(&entry.path()));
            }
        }
    }
    found
}

/// Panic with the names that differ when two trees do not hold the same files
/// with the same content.
pub fn assert_same_tree(left: &Path, right: &Path) {
    let (left_files, right_files) = (digests_of_tree(left), digests_of_tree(right));
    let missing: Vec<_> = left_files.keys().filter(|name| !right_files.contains_key(*name)).collect();
    let extra: Vec<_> = right_files.keys().filter(|name| !left_files.contains_key(*name)).collect();
    let differ: Vec<_> =
        left_files.iter().filter(|(name, sum)| right_files.get(*name).is_some_and(|other| other != *sum)).collect();
    assert!(
        missing.is_empty() && extra.is_empty() && differ.is_empty(),
        "{} and {} differ: missing {missing:?}, extra {extra:?}, changed {differ:?}",
        left.display(),
        right.display(),
    );
    assert!(!left_files.is_empty(), "{} holds no file, so nothing was compared", left.display());
}

/// A tree of `count` small files with ordinary names, folders three deep.
pub fn plain_tree(root: &Path, seed: u64, count: u64) {
    for number in 0..count {
        let folder = root.join(format!("d{}/e{}", number % 5, number % 3));
        std::fs::create_dir_all(&folder).expect("a folder of our own");
        random_file(&folder.join(format!("file-{number:04}.bin")), seed + number, 17 + number * 977 % 60_000);
    }
}

/// A tree of files whose names are legal and unusual.
pub fn odd_tree(root: &Path, seed: u64) {
    let long = "l".repeat(200);
    let names = [
        "plain.txt",
        "with space.txt",
        "two  spaces .bin",
        "plus+plus.txt",
        "100%.txt",
        "%41%2F.txt",
        "ünïcødé-日本語-🪨.txt",
        ".hidden",
        ".config/..double",
        "dir with space/a+b=c&d.txt",
        "quote'\"back`tick.txt",
        "semi;colon,comma.txt",
        "hash#question?.txt",
        "(paren)[bracket]{brace}.txt",
        "~tilde!at@dollar$caret^.txt",
        "deep/er/and/deep/er/still/file",
        "trailing.dot.",
        "-leading-dash",
        "empty",
        "e\u{301}-decomposed.txt",
        long.as_str(),
    ];
    for (number, name) in names.iter().enumerate() {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().expect("a file below the root")).expect("a folder of our own");
        let length_bytes = if *name == "empty" { 0 } else { 11 + 7_919 * number as u64 };
        random_file(&path, seed + number as u64, length_bytes);
    }
}
