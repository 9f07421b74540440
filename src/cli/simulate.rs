//! `cairn simulate`: years of a network's life by dice, with the code that
//! places pieces and orders repairs in a running cluster.

use std::io::{self, IsTerminal, Write};

use super::plan::given::{Hours, Part, hours, part, percent, time};
use super::{Failure, answer};
use crate::erasure::{Durability, Network, Scheme};
use crate::workers::{Setting, Simulated, simulate};

/// Let years pass on a network of nodes that come and go, by dice.
///
/// Pieces are placed, judged and repaired by the code that does so in a
/// cluster; nothing is asked of a running one. docs/durability.md says what is
/// simulated and what is not, and how it compares with `cairn plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  Three years of 1,000 nodes of which 3 in 100 go in a month:
    cairn simulate --nodes 1000 --loss-per-month 3% --years 3

  Home machines that are away for half a day twice a week, in 50 sites:
    cairn simulate --nodes 500 --domains 50 --absences-per-month 8 --absence 12h

The same options and --seed give the same years.")]
pub(super) struct Arguments {
    /// Storage nodes; as many join as are lost
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    nodes: u32,

    /// Failure domains that they are in [default: each node is its own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    domains: Option<u32>,

    /// The redundancy scheme, required/repair/optimal/total [default: Cairn's own for that many domains]
    #[arg(long, value_name = "K/R/O/N")]
    scheme: Option<Scheme>,

    /// Segments that stand for all data
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    segments: u32,

    /// Which part of the nodes is lost for good in a month
    #[arg(long, value_name = "PART", default_value = "3%", value_parser = part)]
    loss_per_month: Part,

    /// Which part of the failure domains is lost whole in a month
    #[arg(long, value_name = "PART", default_value = "0%", value_parser = part)]
    domain_loss_per_month: Part,

    /// How often a node goes and comes back in a month
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1000))]
    absences_per_month: u32,

    /// How long it is away then, on average
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = hours)]
    absence: Hours,

    /// How long a node may be away before its pieces count as missing
    #[arg(long, value_name = "TIME", default_value = "4h", value_parser = hours)]
    offline_after: Hours,

    /// Which part of all segments can be repaired in a day
    #[arg(long, value_name = "PART", default_value = "20%", value_parser = part)]
    repaired_per_day: Part,

    /// How long one repair takes on average
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = hours)]
    repair: Hours,

    /// How long to look
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    years: u32,

    /// What the dice begin with
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// As one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn command(arguments: Arguments) -> Result<(), Failure> {
    let setting = setting(&arguments)?;
    let seen = simulate(&setting, progress(setting.years));
    answer(&if arguments.json { as_json(&setting, &seen) } else { for_people(&setting, &seen) })
}

fn setting(arguments: &Arguments) -> Result<Setting, Failure> {
    let domains = arguments.domains.unwrap_or(arguments.nodes);
    if domains > arguments.nodes {
        return Err(Failure::start(format!(
            "{} nodes cannot be in {domains} failure domains: --domains is at most --nodes",
            arguments.nodes
        )));
    }
    let scheme = arguments.scheme.unwrap_or_else(|| Scheme::default_for(domains as usize));
    if u32::from(scheme.total()) > arguments.nodes {
        return Err(Failure::start(format!(
            "no segment of {scheme} can be kept on {} nodes: it has {} pieces, each on a node of its own",
            arguments.nodes,
            scheme.total()
        )));
    }
    if arguments.repaired_per_day.0 <= 0.0 {
        return Err(Failure::start("where nothing is repaired everything is lost: --repaired-per-day is above 0%"));
    }
    Ok(Setting {
        nodes: arguments.nodes,
        domains,
        scheme,
        segments: arguments.segments,
        loss_per_month: arguments.loss_per_month.0,
        domain_loss_per_month: arguments.domain_loss_per_month.0,
        absences_per_month: arguments.absences_per_month.into(),
        absence_hours: arguments.absence.0,
        offline_after_hours: arguments.offline_after.0,
        repaired_per_day: arguments.repaired_per_day.0,
        repair_hours: arguments.repair.0,
        years: arguments.years.into(),
        seed: arguments.seed,
    })
}

/// How much is over, for who watches.
fn progress(years: f64) -> impl FnMut(f64) {
    let watched = io::stderr().is_terminal();
    move |part| {
        if watched {
            let _ = write!(io::stderr(), "\r{:.2} of {years} years\x1b[K", part * years);
            let _ = write!(io::stderr(), "{}", if part >= 0.99 { "\r\x1b[K" } else { "" });
        }
    }
}

/// What `cairn plan` says of such a network, with the time that segments were
/// exposed here; nothing where none was.
fn planned(setting: &Setting, seen: &Simulated) -> Option<Durability> {
    let network = Network {
        domains: setting.domains as usize,
        loss_per_month: setting.loss_per_month,
        domain_loss_per_month: setting.domain_loss_per_month,
        repair_hours: seen.exposed_hours,
    };
    (seen.exposed_hours > 0.0).then(|| Durability::of(setting.scheme, &network))
}

fn for_people(setting: &Setting, seen: &Simulated) -> String {
    let Setting { nodes, domains, scheme, segments, years, seed, .. } = setting;
    let lost = match seen.segments_lost {
        0 => format!("no segment was lost; the worst had {} pieces more than it needs", seen.least_margin),
        count => format!("{count} segments were lost: the chance in a year was {:.1e}", seen.loss_per_year),
    };
    let planned = planned(setting, seen).map_or_else(String::new, |planned| {
        format!(
            "`cairn plan` says {:.1e} in a year for repairs within {}, which is how long segments were exposed on average.\n",
            planned.loss_per_year,
            time(seen.exposed_hours)
        )
    });
    format!(
        "{years} years of {nodes} nodes in {domains} failure domains, {segments} segments of {scheme}, seed {seed}; {} of the \
         nodes are lost in a month.\n\n\
         {} nodes and {} whole domains were lost; nodes were away {} times.\n\
         {lost}.\n\
         {} segments were repaired, {} pieces made anew, {} repairs came too late; {} segments waited at most.\n\
         Repairs moved {:.3} bytes a month for each byte of data.\n{planned}",
        percent(setting.loss_per_month),
        seen.nodes_lost,
        seen.domains_lost,
        seen.absences,
        seen.repairs,
        seen.pieces_repaired,
        seen.repairs_failed,
        seen.queue_max,
        seen.repair_bytes_per_month,
    )
}

fn as_json(setting: &Setting, seen: &Simulated) -> String {
    let value = serde_json::json!({
        "nodes": setting.nodes,
        "domains": setting.domains,
        "scheme": setting.scheme.to_string(),
        "segments": setting.segments,
        "years": setting.years,
        "seed": setting.seed,
        "seen": seen,
        "planned_loss_per_year": planned(setting, seen).map(|planned| planned.loss_per_year),
    });
    format!("{value:#}\n")
}
