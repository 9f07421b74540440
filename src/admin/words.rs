//! Numbers in sentences.

/// So many of something: `1 node`, `2 nodes`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{end}")
}

/// The same with its verb: `1 node is`, `2 nodes are`.
pub(super) fn counted_are(count: u64, noun: &str) -> String {
    let verb = if count == 1 { "is" } else { "are" };
    format!("{} {verb}", counted(count as usize, noun))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "node")), ["0 nodes", "1 node", "2 nodes"]);
        assert_eq!([1, 2].map(|count| counted_are(count, "node")), ["1 node is", "2 nodes are"]);
    }
}
