//! `cairn plan`: what a redundancy scheme is worth on a network, before it is
//! built.

pub(in crate::cli) mod given;
mod plot;
mod schemes;

use std::path::PathBuf;

use given::{Hours, Part, hours, nines, part};
use schemes::Planned;

use super::{Failure, answer};
use crate::erasure::{Aim, Network, Scheme, audits_to_catch};
use crate::types::limits::PIECES_MAX;

/// Compute how durable data is on a network of nodes, and what it costs.
///
/// The model is in docs/durability.md. Nothing is asked of a running cluster.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  What 200 nodes of which 3 in 100 go in a month can promise, and with which scheme:
    cairn plan --nodes 200 --loss-per-month 3% --repair-within 24h

  Two schemes of your own, side by side, also as a picture:
    cairn plan --nodes 12 --scheme 4/5/7/8 --scheme 6/8/10/12 --svg plan.svg

  Twenty sites of ten nodes each, one of which burns down in a hundred months:
    cairn plan --nodes 200 --domains 20 --domain-loss-per-month 0.05%

Exit code 1: no scheme, or none of those that were asked for, is as durable as --nines wants it.")]
pub(super) struct Arguments {
    /// Storage nodes
    #[arg(long, value_name = "N")]
    nodes: u32,

    /// Failure domains that they are in [default: each node is its own]
    #[arg(long, value_name = "N")]
    domains: Option<u32>,

    /// Which part of the nodes is lost for good in a month
    #[arg(long, value_name = "PART", default_value = "3%", value_parser = part)]
    loss_per_month: Part,

    /// Which part of the failure domains is lost whole in a month
    #[arg(long, value_name = "PART", default_value = "0%", value_parser = part)]
    domain_loss_per_month: Part,

    /// How long it takes until lost pieces are made again, from the loss on
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = hours)]
    repair_within: Hours,

    /// A redundancy scheme to look at, required/repair/optimal/total; may be given more than once
    /// [default: Cairn's own for that many domains, and the cheapest one that is good enough]
    #[arg(long, value_name = "K/R/O/N")]
    scheme: Vec<Scheme>,

    /// How durable an object has to be in a year: 11 nines are 99.999999999 %
    #[arg(long, value_name = "N", default_value = "11", value_parser = nines)]
    nines: f64,

    /// Write a picture of it to this file: durability against the loss of nodes
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// What was asked, checked.
struct Question {
    nodes: u32,
    network: Network,
    aim: Aim,
}

pub(super) fn command(arguments: Arguments) -> Result<(), Failure> {
    let question = question(&arguments)?;
    let planned = match arguments.scheme.as_slice() {
        [] => schemes::suggested(&question),
        given => schemes::given(given, &question)?,
    };
    if let Some(file) = &arguments.svg {
        std::fs::write(file, plot::svg(&question, &planned))
            .map_err(|error| Failure::io("the picture could not be written", file, &error))?;
    }
    answer(&if arguments.json { as_json(&question, &planned) } else { for_people(&question, &planned) })?;
    let good_enough = |one: &Planned| one.durability.loss_per_year <= question.aim.loss_per_year;
    match planned.iter().any(good_enough) {
        true => Ok(()),
        false => Err(Failure::running(not_good_enough(&arguments))),
    }
}

fn question(arguments: &Arguments) -> Result<Question, Failure> {
    let domains = arguments.domains.unwrap_or(arguments.nodes);
    if arguments.nodes == 0 || domains == 0 {
        return Err(Failure::start("a network without nodes keeps nothing: --nodes and --domains begin at 1"));
    }
    if domains > arguments.nodes {
        return Err(Failure::start(format!(
            "{} nodes cannot be in {domains} failure domains: --domains is at most --nodes",
            arguments.nodes
        )));
    }
    let network = Network {
        domains: domains as usize,
        loss_per_month: arguments.loss_per_month.0,
        domain_loss_per_month: arguments.domain_loss_per_month.0,
        repair_hours: arguments.repair_within.0,
    };
    if network.loss_per_month + network.domain_loss_per_month <= 0.0 {
        return Err(Failure::start(
            "where nothing is ever lost there is nothing to compute: --loss-per-month is above 0%",
        ));
    }
    let aim = Aim { loss_per_year: 10_f64.powf(-arguments.nines), total: LARGEST };
    Ok(Question { nodes: arguments.nodes, network, aim })
}

/// Pieces of the largest scheme that is suggested.
const LARGEST: u16 = 80;
const _: () = assert!(LARGEST as usize <= PIECES_MAX);

fn not_good_enough(arguments: &Arguments) -> String {
    let which = match arguments.scheme.len() {
        0 => "no scheme reaches",
        1 => "this scheme does not reach",
        _ => "none of these schemes reaches",
    };
    format!(
        "{which} {} nines on such a network: more nodes, faster repair or fewer losses help, or a smaller --nines",
        arguments.nines
    )
}

fn for_people(question: &Question, planned: &[Planned]) -> String {
    let Question { nodes, network, .. } = question;
    let together = match network.domain_loss_per_month {
        0.0 => String::new(),
        part => format!(", and {} of its domains whole", given::percent(part)),
    };
    format!(
        "{nodes} nodes in {} failure domains; {} of the nodes are lost in a month{together}; repaired within {}.\n\n{}\n{}\n\
         An auditor that checks random shares has caught a node that keeps only 90 % of its data after {} of them, with 95 % certainty.\n",
        network.domains,
        given::percent(network.loss_per_month),
        given::time(network.repair_hours),
        schemes::table(planned),
        plot::terminal(question, planned),
        audits_to_catch(0.9, 0.95),
    )
}

fn as_json(question: &Question, planned: &[Planned]) -> String {
    let Question { nodes, network, aim } = question;
    let value = serde_json::json!({
        "nodes": nodes,
        "domains": network.domains,
        "loss_per_month": network.loss_per_month,
        "domain_loss_per_month": network.domain_loss_per_month,
        "repair_within_hours": network.repair_hours,
        "loss_per_year_at_most": aim.loss_per_year,
        "audits_to_catch_90_percent": audits_to_catch(0.9, 0.95),
        "schemes": planned.iter().map(|one| one.as_json(aim)).collect::<Vec<_>>(),
    });
    format!("{value:#}\n")
}
