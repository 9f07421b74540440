//! `cairn simulate` as an operator and a script meet it.
#![cfg(feature = "server")]

use std::process::{Command, Output};

use serde_json::Value;

fn simulate(arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    command.env_clear().arg("simulate").args(arguments.split_whitespace());
    command.output().expect("the program runs")
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn a_year_of_a_community_loses_nothing() {
    let outcome = simulate("--nodes 200 --segments 500 --loss-per-month 3% --absences-per-month 2");
    assert_eq!((outcome.status.code(), said(&outcome.stderr)), (Some(0), String::new()));
    let text = said(&outcome.stdout);
    for words in ["29/35/65/80", "no segment was lost", "pieces made anew", "bytes a month"] {
        assert!(text.contains(words), "'{words}' is missing:\n{text}");
    }
}

#[test]
fn what_cannot_last_is_lost_and_the_plan_had_said_so() {
    let arguments = "--nodes 100 --scheme 2/2/3/4 --segments 2000 --loss-per-month 20% --offline-after 3d --json";
    let outcome = simulate(arguments);
    let value: Value = serde_json::from_slice(&outcome.stdout).expect("JSON");
    let (seen, planned) = (value["seen"]["loss_per_year"].as_f64(), value["planned_loss_per_year"].as_f64());
    let (seen, planned) = (seen.expect("a number"), planned.expect("a number"));
    assert!(seen > 0.01 && seen < planned * 1.2 && seen > planned / 10.0, "{value:#}");
    assert_eq!(outcome.stdout, simulate(arguments).stdout, "the same seed gives the same years");
}

#[test]
fn what_cannot_be_is_said_in_a_sentence() {
    for (arguments, words) in [
        ("--nodes 6 --scheme 4/5/7/8", "no segment of 4/5/7/8 can be kept on 6 nodes"),
        ("--nodes 0", "0 is not in 1..=100000"),
        ("--nodes 4 --domains 5", "4 nodes cannot be in 5 failure domains"),
        ("--nodes 4 --repaired-per-day 0%", "--repaired-per-day is above 0%"),
        ("--nodes 4 --absence soon", "such as 90m or 24h"),
    ] {
        let outcome = simulate(arguments);
        assert_eq!(outcome.status.code(), Some(2), "{arguments}");
        assert!(said(&outcome.stderr).contains(words), "{arguments}: {}", said(&outcome.stderr));
    }
}
