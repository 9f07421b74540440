//! Reads the sources and says which rule of the house one breaks: floors,
//! privacy, what only one room may name, and the size of files and functions.
//! Unit tests inside `src/` are exempt from all but the last.

#[path = "house/rules.rs"]
mod rules;
#[path = "house/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use rules::*;
use source::{Source, item_end};

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Fails with all sentences at once.
fn none_of(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n\n  {}\n\n", complaints.join("\n  "));
}

fn sources() -> Vec<Source> {
    let sources = Source::read_all(package(), "src");
    assert!(sources.len() > 10, "the sources were not found");
    sources
}

fn complaints_about(check: fn(&Source) -> Vec<String>) -> Vec<String> {
    sources().iter().flat_map(check).collect()
}

// ---- floors ---------------------------------------------------------------

#[test]
fn a_room_uses_only_what_lies_below_it() {
    none_of(complaints_about(floors));
}

fn floor_of(room: &str) -> Option<(usize, usize)> {
    FLOORS.iter().enumerate().find_map(|(floor, rooms)| Some((floor, rooms.iter().position(|name| *name == room)?)))
}

fn floors(source: &Source) -> Vec<String> {
    let Some(room) = source.room() else { return Vec::new() };
    let Some(here) = floor_of(room) else {
        return vec![format!(
            "{}: '{room}' is no room of house.md; add it to FLOORS in tests/house/rules.rs",
            source.path
        )];
    };
    let complaint = |(offset, used): (usize, String)| {
        let place = source.place(offset);
        match floor_of(&used) {
            None => Some(format!("{place}: 'crate::{used}' is no room; only rooms stand at the crate's root")),
            Some(there) if there.0 > here.0 => Some(format!(
                "{place}: '{room}' (floor {}) uses '{used}' (floor {}); a room uses only the floors below it",
                here.0, there.0
            )),
            Some(there) if there.0 == here.0 && there.1 > here.1 => Some(format!(
                "{place}: '{room}' uses '{used}', which comes after it on the same floor; turn the dependency around"
            )),
            Some(_) => stranger(room, &used).map(|reason| format!("{place}: '{room}' may not use '{used}': {reason}")),
        }
    };
    rooms_used(source).into_iter().filter_map(complaint).collect()
}

fn stranger(room: &str, used: &str) -> Option<&'static str> {
    STRANGERS.iter().find(|(name, used_by, _)| *name == room && used_by.contains(&used)).map(|(_, _, reason)| *reason)
}

/// Every room that a file names by `crate::` or by climbing with `super::`.
fn rooms_used(source: &Source) -> Vec<(usize, String)> {
    let climb = "super::".repeat(source.depth());
    let mut used = Vec::new();
    for root in ["crate::", &climb] {
        for offset in words(&source.code, root) {
            let after = &source.code[offset + root.len()..];
            used.extend(first_names(after).into_iter().filter(|name| name != "super").map(|name| (offset, name)));
        }
    }
    used
}

/// The first names of a path or of each path in a group: `a::b` and
/// `{a::b, c::{d, e}}` give `a` and `a`, `c`.
fn first_names(path: &str) -> Vec<String> {
    let path = path.trim_start();
    let Some(group) = path.strip_prefix('{') else {
        return vec![path.chars().take_while(|c| is_word(*c)).collect()];
    };
    let (mut names, mut depth, mut fresh) = (Vec::new(), 0, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && is_word(c) => {
                names.push(group[at..].chars().take_while(|c| is_word(*c)).collect());
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Offsets at which a word or path stands that is not part of a longer one.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let open_end = !word.ends_with(is_word);
    code.match_indices(word).map(|(offset, _)| offset).filter(move |&offset| {
        let before = &code[..offset];
        let in_path = word.starts_with(is_word) && (before.ends_with(is_word) || before.ends_with("::"));
        let continues = !open_end && code[offset + word.len()..].starts_with(is_word);
        !in_path && !continues
    })
}

#[test]
fn every_room_is_declared_on_its_floor() {
    let lib = std::fs::read_to_string(package().join("src/lib.rs")).unwrap();
    let lines: Vec<&str> = lib.lines().collect();
    let mut complaints = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(room) = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')) else { continue };
        let server_only = at > 0 && lines[at - 1] == "#[cfg(feature = \"server\")]";
        match floor_of(room) {
            None => complaints.push(format!("src/lib.rs: '{room}' is no room of house.md")),
            Some((0, _)) if server_only => {
                complaints.push(format!("src/lib.rs: '{room}' belongs to the core; take its cfg away"))
            }
            Some((1.., _)) if !server_only => {
                complaints.push(format!(
                    "src/lib.rs: '{room}' is above the core; put #[cfg(feature = \"server\")] before it"
                ));
            }
            Some(_) => {}
        }
    }
    none_of(complaints);
}

// ---- privacy --------------------------------------------------------------

#[test]
fn a_room_does_not_name_what_it_must_not_know() {
    none_of(complaints_about(privacy));
}

fn privacy(source: &Source) -> Vec<String> {
    let room = source.room().unwrap_or("main");
    let mut complaints = Vec::new();
    for secret in SECRETS.iter().filter(|secret| secret.rooms.contains(&room)) {
        for word in secret.words {
            complaints.extend(
                code_words(source, word)
                    .map(|at| format!("{}: '{room}' names {word}: {}", source.place(at), secret.reason)),
            );
        }
    }
    for reserved in RESERVED.iter().filter(|reserved| !reserved.rooms.contains(&room)) {
        for path in reserved.paths {
            complaints.extend(
                code_words(source, path)
                    .map(|at| format!("{}: '{room}' names {path}: {}", source.place(at), reserved.reason)),
            );
        }
    }
    if floor_of(room).is_some_and(|(floor, _)| floor == 0) {
        for path in NOT_ON_THE_GROUND {
            complaints.extend(code_words(source, path).map(|at| {
                format!(
                    "{}: '{room}' names {path}: the ground floor has no async, no I/O, no clock and no dice",
                    source.place(at)
                )
            }));
        }
    }
    complaints
}

/// Like `words`, for types, macros and crates; a crate counts where its path
/// begins, a type anywhere in one.
fn code_words<'a>(source: &'a Source, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_crate = !word.contains("::") && word.chars().all(|c| c.is_lowercase() || c == '_');
    let code = &source.code;
    code.match_indices(word).map(|(offset, _)| offset).filter(move |&offset| {
        let (before, after) = (&code[..offset], &code[offset + word.len()..]);
        let goes_on_before = word.starts_with(is_word) && before.ends_with(is_word);
        let goes_on_after = word.ends_with(is_word) && after.starts_with(is_word);
        let begins_path = after.starts_with("::") && !before.ends_with("::");
        let used = before.trim_end().ends_with("use") && !before.ends_with("::");
        !goes_on_before && !goes_on_after && (!is_crate || begins_path || used)
    })
}

#[test]
fn sql_is_nowhere_but_in_metadata() {
    none_of(complaints_about(sql));
}

fn sql(source: &Source) -> Vec<String> {
    if source.room() == Some("metadata") {
        return Vec::new();
    }
    let found = SQL.iter().flat_map(|keyword| source.literals.match_indices(keyword));
    found
        .map(|(at, keyword)| format!("{}: SQL ({}) stands outside of metadata", source.place(at), keyword.trim()))
        .collect()
}

// ---- files and functions --------------------------------------------------

#[test]
fn every_file_says_what_it_is() {
    let mut files = sources();
    files.extend(Source::read_all(package(), "tests"));
    let silent = files.iter().filter(|source| !source.text.starts_with("//! "));
    none_of(
        silent
            .map(|source| format!("{}: the first line must be '//! ' and say what the file is", source.path))
            .collect(),
    );
}

#[test]
fn functions_fit_on_a_screen() {
    none_of(complaints_about(long_functions));
}

fn long_functions(source: &Source) -> Vec<String> {
    let code = &source.whole_code;
    let starts = words(code, "fn ").filter(|at| code[at + 3..].trim_start().starts_with(|c: char| is_word(c)));
    let measured = starts.map(|start| (start, code[start..item_end(code, start)].lines().count()));
    let long = measured.filter(|(_, lines)| *lines > FUNCTION_LINES_MAX);
    long.map(|(start, lines)| {
        let name: String = code[start + 3..].trim_start().chars().take_while(|c| is_word(*c)).collect();
        format!(
            "{}: fn {name} has {lines} lines; {FUNCTION_LINES_MAX} are the limit, ten are good",
            source.place(start)
        )
    })
    .collect()
}

#[test]
fn long_files_only_get_shorter() {
    let mut complaints = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        let known = LONG_FILES.iter().find(|(path, _)| *path == source.path).map(|(_, lines)| *lines);
        match known {
            None if lines > FILE_LINES_MAX => {
                complaints.push(format!(
                    "{}: {lines} lines; a file is one idea, and {FILE_LINES_MAX} are the limit",
                    source.path
                ));
            }
            Some(before) if lines != before => {
                complaints.push(format!(
                    "{}: {lines} lines, and LONG_FILES says {before}: it may only shrink; correct the number",
                    source.path
                ));
            }
            _ => {}
        }
    }
    let paths: BTreeSet<String> = sources().into_iter().map(|source| source.path).collect();
    complaints.extend(
        LONG_FILES
            .iter()
            .filter(|(path, _)| !paths.contains(*path))
            .map(|(path, _)| format!("{path}: is gone; strike it from LONG_FILES")),
    );
    none_of(complaints);
}

// ---- the core -------------------------------------------------------------

fn crates(features: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(features)
        .current_dir(package())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo tree writes UTF-8");
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn the_core_builds_without_the_server() {
    let core = crates(&["--no-default-features"]);
    assert!(
        core.contains("aws-lc-rs") && core.contains("reed-solomon-simd"),
        "cargo tree shows something else: {core:?}"
    );
    let server = crates(&[]);
    let mut complaints = Vec::new();
    for name in NOT_IN_THE_CORE {
        assert!(server.contains(*name), "{name} is gone from the whole program; strike it from NOT_IN_THE_CORE");
        if core.contains(*name) {
            complaints.push(format!(
                "the core (--no-default-features) brings in {name}: make what needs it optional and part of 'server'"
            ));
        }
    }
    none_of(complaints);
}

// ---- the rules themselves -------------------------------------------------

#[test]
fn each_rule_catches_what_it_is_for() {
    type Check = fn(&Source) -> Vec<String>;
    let caught: &[(Check, &str, &str)] = &[
        (floors, "src/types/a.rs", "use crate::metadata::X;"),
        (floors, "src/erasure/a.rs", "use crate::{types::A, segment::{B, C}};"),
        (floors, "src/segment/a.rs", "fn a() { super::super::node::b() }"),
        (floors, "src/segment/mod.rs", "use super::node;"),
        (floors, "src/node/a.rs", "pub use crate::objects::B;"),
        (floors, "src/node/a.rs", "use crate::seal::X;"),
        (floors, "src/utils/a.rs", ""),
        (floors, "src/node/a.rs", "use crate::helpers;"),
        (privacy, "src/node/a.rs", "use crate::types::{BucketName, PieceId};"),
        (privacy, "src/transfer/a.rs", "fn a(key: &crate::seal::ContentKey) {}"),
        (privacy, "src/objects/a.rs", "use rusqlite::Connection;"),
        (privacy, "src/objects/a.rs", "fn a() { let b = s3s::S3; }"),
        (privacy, "src/gateway/a.rs", "fn a() { std::env::var(\"HOME\"); }"),
        (privacy, "src/node/a.rs", "fn a() { println!(\"a\"); }"),
        (privacy, "src/wire/a.rs", "use tokio;"),
        (privacy, "src/wire/a.rs", "fn a() { std::time::Instant::now(); }"),
        (privacy, "src/seal/a.rs", "pub async fn a() {}"),
        (sql, "src/objects/a.rs", "const A: &str = \"SELECT a FROM b\";"),
        (long_functions, "src/a.rs", &format!("fn a() {{{}}}", "\n".repeat(70))),
    ];
    for (check, path, text) in caught {
        assert_eq!(check(&Source::new(path, text)).len(), 1, "{path}: {text}");
    }
    let allowed: &[(Check, &str, &str)] = &[
        (floors, "src/segment/a.rs", "use crate::erasure::Coding; use super::Layout; fn a() { super::b::c() }"),
        (floors, "src/cli/a/b.rs", "use crate::{gateway, metadata::X}; use super::super::Y;"),
        (floors, "src/types/a.rs", "#[cfg(test)] mod tests { use crate::node::A; }"),
        (privacy, "src/types/a.rs", "pub struct BucketName; // rusqlite::X and println!"),
        (privacy, "src/cli/a.rs", "fn a() { println!(\"{:?}\", std::env::args()); }"),
        (privacy, "src/objects/a.rs", "let my_s3s = env::clock(); crate::env::now();"),
        (sql, "src/metadata/a.rs", "const A: &str = \"SELECT a FROM b\";"),
        (sql, "src/objects/a.rs", "// SELECT a\nconst A: &str = \"DELETE\";"),
        (long_functions, "src/a.rs", &format!("fn a() {{{}}}", "\n".repeat(69))),
    ];
    for (check, path, text) in allowed {
        assert_eq!(check(&Source::new(path, text)), [] as [String; 0], "{path}: {text}");
    }
}
