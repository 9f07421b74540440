//! A Rust source file as the house test sees it: code, literals and comments
//! told apart by a small lexer, and unit tests left out.

use std::path::Path;

/// One file. `code` and `literals` are as long as the text, with everything
/// else blanked, so that an offset means the same line in all of them.
pub struct Source {
    /// Relative to the package, with `/`.
    pub path: String,
    /// As it stands on disk.
    pub text: String,
    /// Without comments and the insides of literals.
    pub whole_code: String,
    /// The same without unit tests.
    pub code: String,
    /// Only the insides of string literals, without those of unit tests.
    pub literals: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let (whole_code, mut literals) = lex(text);
        let mut code = whole_code.clone();
        let tests = if is_test_file(path) { std::iter::once(0..text.len()).collect() } else { test_items(&code) };
        for range in tests {
            blank(&mut code, range.clone());
            blank(&mut literals, range);
        }
        Self { path: path.to_owned(), text: text.to_owned(), whole_code, code, literals }
    }

    /// All `.rs` files below a folder of the package.
    pub fn read_all(package: &Path, folder: &str) -> Vec<Self> {
        let mut sources = Vec::new();
        let mut folders = vec![package.join(folder)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
                let path = entry.expect("the folder can be read").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    sources.push(Self::read(package, &path));
                }
            }
        }
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        sources
    }

    fn read(package: &Path, path: &Path) -> Self {
        let inside = path.strip_prefix(package).expect("the file lies in the package");
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::new(&inside.to_string_lossy(), &text)
    }

    /// The room of a file below `src/`; none for `lib.rs` and `main.rs`.
    pub fn room(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let room = inside.split('/').next()?.trim_end_matches(".rs");
        (!["lib", "main"].contains(&room)).then_some(room)
    }

    /// How deep the file's module lies below the crate's root.
    pub fn depth(&self) -> usize {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        inside.split('/').count()
    }

    /// `path:line` of an offset.
    pub fn place(&self, offset: usize) -> String {
        format!("{}:{}", self.path, 1 + self.text[..offset].matches('\n').count())
    }
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path[..path.len() - 3].split('/').any(|part| part == "tests")
}

fn blank(text: &mut String, range: std::ops::Range<usize>) {
    let blanked: String = text[range.clone()].chars().flat_map(blank_char).collect();
    text.replace_range(range, &blanked);
}

/// As many bytes as the character has, so that offsets stay.
fn blank_char(c: char) -> impl Iterator<Item = char> {
    let blank = if c == '\n' { '\n' } else { ' ' };
    std::iter::repeat_n(blank, c.len_utf8())
}

/// Splits a text into code and the insides of string literals.
fn lex(text: &str) -> (String, String) {
    let (mut code, mut literals) = (String::new(), String::new());
    let mut rest = text;
    while !rest.is_empty() {
        let (length, kind) = next_piece(rest, code.chars().next_back());
        let (piece, following) = rest.split_at(length);
        let blanks = || piece.chars().flat_map(blank_char);
        match kind {
            Kind::Code => code.push_str(piece),
            _ => code.extend(blanks()),
        }
        match kind {
            Kind::Literal => literals.push_str(piece),
            _ => literals.extend(blanks()),
        }
        rest = following;
    }
    (code, literals)
}

#[derive(Clone, Copy)]
enum Kind {
    Code,
    Comment,
    Literal,
}

/// Length and kind of the piece that a text begins with.
fn next_piece(text: &str, before: Option<char>) -> (usize, Kind) {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if text.starts_with("//") {
        return (text.find('\n').unwrap_or(text.len()), Kind::Comment);
    }
    if text.starts_with("/*") {
        return (block_comment(text), Kind::Comment);
    }
    if !in_word && let Some(length) = raw_string(text) {
        return (length, Kind::Literal);
    }
    if text.starts_with('"') {
        return (quoted(text, '"'), Kind::Literal);
    }
    if text.starts_with('\'') && is_char_literal(text) {
        return (quoted(text, '\''), Kind::Comment);
    }
    (text.chars().next().map_or(0, char::len_utf8), Kind::Code)
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn raw_string(text: &str) -> Option<usize> {
    let after_r = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = after_r.len() - after_r.trim_start_matches('#').len();
    let inside = after_r[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = text.len() - inside.len();
    Some(inside.find(&end).map_or(text.len(), |at| start + at + end.len()))
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// Tells `'a'` and `'\n'` from the lifetime `'a`.
fn is_char_literal(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

/// Where items under `#[cfg(test)]` lie.
fn test_items(code: &str) -> Vec<std::ops::Range<usize>> {
    let mut ranges: Vec<std::ops::Range<usize>> = Vec::new();
    for (start, _) in code.match_indices("#[cfg(test)]") {
        if ranges.last().is_none_or(|last| last.end <= start) {
            ranges.push(start..item_end(code, start));
        }
    }
    ranges
}

/// The end of the item that begins at an offset: its `;` or its closing brace.
pub fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0_i32;
    for (at, c) in code[start..].char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth -= 1;
                if c == '}' && depth <= 0 {
                    return start + at + 1;
                }
            }
            ';' if depth == 0 => return start + at + 1,
            _ => {}
        }
    }
    code.len()
}

#[test]
fn code_literals_and_comments_are_told_apart() {
    let text = "let a = \"x // \\\" y\"; // \"no\"\nlet b: &'a str = r#\"raw \"q\" \"#; /* /* n */ */ let c = '\"'; é";
    let source = Source::new("src/a.rs", text);
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(squeezed(&source.code), "let a = ; let b: &'a str = ; let c = ; é");
    assert_eq!(squeezed(&source.literals), "\"x // \\\" y\" r#\"raw \"q\" \"#");
    assert_eq!((source.code.len(), source.literals.len()), (text.len(), text.len()));
}

#[test]
fn unit_tests_are_left_out() {
    let text =
        "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { \"s\"; } }\nfn c() {}\n#[cfg(test)]\nuse d::{e};\nfn f() {}";
    let source = Source::new("src/a/b.rs", text);
    let words: Vec<&str> = source.code.split_whitespace().collect();
    assert_eq!(words.join(" "), "fn a() {} fn c() {} ; fn f() {}");
    assert_eq!(source.literals.trim(), "");
    assert_eq!(source.place(text.find("fn c").unwrap()), "src/a/b.rs:4");
    assert_eq!(Source::new("src/a/tests.rs", "fn a() {}").code.trim(), "");
}
