//! `cairn plan` as an operator and a script meet it.
#![cfg(feature = "server")]

use std::process::{Command, Output};

use serde_json::Value;

fn plan(arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    command.env_clear().arg("plan").args(arguments.split_whitespace());
    command.output().expect("the program runs")
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn as_json(arguments: &str) -> Value {
    serde_json::from_slice(&plan(&format!("{arguments} --json")).stdout).expect("JSON")
}

#[test]
fn a_network_gets_its_own_scheme_and_the_cheapest_that_will_do() {
    let outcome = plan("--nodes 200 --loss-per-month 3% --repair-within 24h");
    assert_eq!((outcome.status.code(), said(&outcome.stderr)), (Some(0), String::new()));
    let text = said(&outcome.stdout);
    for words in ["29/35/65/80", "Cairn's own", "cheapest", "3 %", "█", "after 29 of them"] {
        assert!(text.contains(words), "'{words}' is missing:\n{text}");
    }
    let plan = as_json("--nodes 200 --loss-per-month 3% --repair-within 24h");
    let cheapest = &plan["schemes"][1];
    assert_eq!(cheapest["is_durable_enough"], true, "{plan}");
    assert!(cheapest["nines"].as_f64() >= Some(11.0), "{plan}");
    assert!(cheapest["stored_bytes_per_byte"][0].as_f64() < plan["schemes"][0]["stored_bytes_per_byte"][0].as_f64());
}

#[test]
fn what_is_lost_faster_is_less_durable() {
    let nines = |more: &str| {
        let plan = as_json(&format!("--nodes 100 --scheme 4/5/7/8{more}"));
        plan["schemes"][0]["nines"].as_f64().expect("a number")
    };
    assert!(nines(" --loss-per-month 1%") > nines(" --loss-per-month 5%"));
    assert!(nines(" --repair-within 6h") > nines(" --repair-within 2d"));
    assert!(nines("") > nines(" --domains 4 --domain-loss-per-month 1%"));
}

#[test]
fn a_picture_shows_a_curve_for_each_scheme() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("plan.svg");
    let outcome = plan(&format!("--nodes 12 --scheme 4/5/7/8 --scheme 6/8/10/12 --nines 4 --svg {}", file.display()));
    assert_eq!(outcome.status.code(), Some(0), "{}", said(&outcome.stderr));
    let picture = std::fs::read_to_string(file).expect("a picture");
    assert_eq!(picture.matches("<polyline").count(), 2);
    assert!(picture.contains(">6/8/10/12<") && picture.ends_with("</svg>\n"));
}

#[test]
fn what_cannot_be_is_said_in_a_sentence() {
    for (arguments, code, words) in [
        ("--nodes 6 --scheme 4/5/7/8", 2, "no segment of 4/5/7/8 can be kept on 6 nodes"),
        ("--nodes 2", 1, "no scheme reaches 11 nines"),
        ("--nodes 100 --scheme 4/5/7/8", 1, "this scheme does not reach 11 nines"),
        ("--nodes 0", 2, "a network without nodes"),
        ("--nodes 4 --domains 5", 2, "4 nodes cannot be in 5 failure domains"),
        ("--nodes 4 --loss-per-month 0%", 2, "nothing is ever lost"),
        ("--nodes 4 --loss-per-month 100%", 2, "below 100%"),
        ("--nodes 4 --repair-within soon", 2, "such as 90m or 24h"),
        ("--nodes 4 --scheme 4/3/7/8", 2, "out of order"),
        ("--nodes 8 --nines 1 --svg /nowhere/plan.svg", 2, "the picture could not be written"),
    ] {
        let outcome = plan(arguments);
        assert_eq!(outcome.status.code(), Some(code), "{arguments}");
        assert!(said(&outcome.stderr).contains(words), "{arguments}: {}", said(&outcome.stderr));
    }
}
