//! Numbers, times and tables as people read them.

use std::collections::BTreeMap;

use crate::types::text::is_control_or_format;

/// A size in the unit that leaves one to three digits before the point:
/// `1.50 GB`.
pub(super) fn bytes(count: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut value, mut unit) = (count as f64, 0);
    while value >= 999.5 && unit + 1 < units.len() {
        (value, unit) = (value / 1000.0, unit + 1);
    }
    let digits = match value {
        _ if unit == 0 => 0,
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {}", units[unit])
}

/// A whole number with its thousands apart: `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time in its two largest units: `3 d 4 h`.
pub(super) fn span(seconds: u64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let Some(first) = units.iter().position(|(size, _)| seconds >= *size) else { return "0 s".to_owned() };
    let (size, name) = units[first];
    let next = units.get(first + 1).map(|(smaller, name)| (seconds % size / smaller, name));
    match next {
        Some((rest, next)) if rest > 0 => format!("{} {name} {rest} {next}", seconds / size),
        _ => format!("{} {name}", seconds / size),
    }
}

/// So many of something: `1 node`, `2,000 nodes`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// How long ago something was.
pub(super) fn ago(now_ms: i64, then_ms: Option<i64>) -> String {
    then_ms.map_or_else(
        || "never".to_owned(),
        |then| format!("{} ago", span(now_ms.saturating_sub(then).max(0) as u64 / 1000)),
    )
}

/// How much of the whole there is, as a bar.
pub(super) fn bar(part: u64, whole: u64, width: usize) -> String {
    let share = if whole == 0 { 0.0 } else { (part as f64 / whole as f64).min(1.0) };
    let mut full = (share * width as f64).round() as usize;
    // Something is not nothing.
    full = full.max(usize::from(part > 0));
    format!("{}{}", "█".repeat(full), "░".repeat(width - full))
}

/// Labels as they are written on a command line.
pub(super) fn labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(name, value)| format!("{}={}", word(name), word(value))).collect::<Vec<_>>().join(" ")
}

/// Quotes what could be taken for more than one label.
fn word(text: &str) -> String {
    let common = |letter: char| letter.is_alphanumeric() || "-_./:@+".contains(letter);
    match text.chars().all(common) {
        true => text.to_owned(),
        false => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

/// Text that somebody else wrote, fit for a terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|letter| if is_control_or_format(letter) { '?' } else { letter }).collect()
}

/// As many first digits of an id as tell it from all others, at least eight.
pub(super) fn short_ids<'a>(ids: impl Iterator<Item = &'a str> + Clone) -> usize {
    let mut sorted: Vec<&str> = ids.collect();
    sorted.sort_unstable();
    let common = |pair: &[&str]| pair[0].bytes().zip(pair[1].bytes()).take_while(|(one, other)| one == other).count();
    sorted.windows(2).map(common).max().map_or(8, |longest| (longest + 1).max(8))
}

/// Columns under their names, two spaces apart.
pub(super) fn table(names: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([names[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let mut text = String::new();
    let header: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    for row in [&header].into_iter().chain(&rows) {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Names and what belongs to them, a line each. What is empty is left out.
pub(super) fn lines(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let told = pairs.iter().filter(|(_, value)| !value.is_empty());
    told.map(|(name, value)| format!("{name:width$}  {}\n", plain(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (number, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (12_345, "12.3 kB"),
            (1_557_000, "1.56 MB"),
            (99_960, "100 kB"),
            (999_600, "1.00 MB"),
            (123_456_789_000, "123 GB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(number), text);
        }
        assert_eq!([0, 1, 1000].map(|number| counted(number, "node")), ["0 nodes", "1 node", "1,000 nodes"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        for (seconds, text) in
            [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3661, "1 h 1 min"), (86_400, "1 d"), (100_000, "1 d 3 h")]
        {
            assert_eq!(span(seconds), text);
        }
        assert_eq!((ago(10_000, Some(5_000)), ago(1, None)), ("5 s ago".to_owned(), "never".to_owned()));
    }

    #[test]
    fn a_bar_is_as_wide_as_it_should_be() {
        for (part, whole, text) in
            [(0, 0, "░░░░"), (1, 1000, "█░░░"), (1, 2, "██░░"), (9, 4, "████"), (u64::MAX, u64::MAX, "████")]
        {
            assert_eq!(bar(part, whole, 4), text);
        }
    }

    #[test]
    fn short_ids_differ() {
        assert_eq!(short_ids(["abc", "xyz"].into_iter()), 8);
        assert_eq!(short_ids(["0123456789a", "0123456789b", "1"].into_iter()), 11);
        assert_eq!(short_ids([].into_iter()), 8);
    }

    #[test]
    fn nobody_elses_text_reaches_the_terminal_as_an_order() {
        let rows = [vec!["a".to_owned(), "\u{1b}[2J".to_owned()], vec!["longer".to_owned(), "x".to_owned()]];
        assert_eq!(table(&["ID", "SAID"], &rows), "ID      SAID\na       ?[2J\nlonger  x\n");
        assert_eq!(plain("gnp.\u{202e}exe\u{200b}"), "gnp.?exe?");
        let said = [("a", "b c=d"), ("owner", "alice"), ("q", "\"\\")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(labels(&said.into()), r#"a="b c=d" owner=alice q="\"\\""#);
        assert_eq!(lines(&[("id", "a\nb".to_owned()), ("none", String::new())]), "id    a?b\n");
    }
}
