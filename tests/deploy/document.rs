//! docs/deploy.md: its examples, to be run as they are written.

use crate::built::repository;

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

const README: &str = include_str!("../../README.md");
const PAGES: [&str; 3] = ["docs/deploy.md", "docs/deploy-swarm.md", "docs/kubernetes.md"];

/// What the README shows is a part of what the tests of the pages run.
#[test]
fn the_readmes_commands_are_those_of_the_pages() {
    let section = README.split_once("\n## Deploy\n").expect("the README has it").1;
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let blocks: Vec<&str> =
        section.split("```sh\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0)).collect();
    assert_eq!(blocks.len(), 3, "Compose, Swarm and Kubernetes");
    let read =
        |page: &str| std::fs::read_to_string(repository().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
    let pages = PAGES.map(read);
    for block in blocks {
        assert!(pages.iter().any(|page| page.contains(block)), "no page has these commands:\n{block}");
    }
}
