//! docs/deploy.md: its examples, to be run as they are written.

const DOCUMENT: &str = include_str!("../../docs/deploy.md");

/// The text of all `sh` blocks between a third-level heading and the next heading.
pub fn blocks_below(heading: &str) -> String {
    let section = DOCUMENT.split_once(&format!("\n### {heading}\n")).map_or("", |(_, rest)| rest);
    let end = section.find("\n## ").unwrap_or(section.len()).min(section.find("\n### ").unwrap_or(section.len()));
    let blocks = section[..end].split("```sh\n").skip(1);
    let blocks: String = blocks.filter_map(|block| block.split_once("```")).map(|(commands, _)| commands).collect();
    assert!(!blocks.is_empty(), "docs/deploy.md has no examples below {heading:?}");
    blocks
}
