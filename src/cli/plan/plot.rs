//! Durability against the loss of nodes: as bars in a terminal, as curves in a
//! picture.

use std::fmt::Write;

use super::schemes::Planned;
use super::{Question, given};
use crate::erasure::{Durability, Network, Scheme};

/// Losses in a month that are shown, apart from the one that was asked about.
const LOSSES: [f64; 8] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5];
/// More nines than these are as good as these.
const NINES_MAX: f64 = 20.0;
const BAR: usize = 40;

fn nines(scheme: Scheme, question: &Question, loss_per_month: f64) -> f64 {
    let network = Network { loss_per_month, ..question.network };
    Durability::of(scheme, &network).nines().clamp(0.0, NINES_MAX)
}

/// A bar of nines for each loss, of the last scheme: the cheapest one, or the
/// last that was asked for.
pub(super) fn terminal(question: &Question, planned: &[Planned]) -> String {
    let Some(Planned { scheme, .. }) = planned.last() else { return String::new() };
    let asked = question.network.loss_per_month;
    let mut losses: Vec<f64> = LOSSES.into_iter().filter(|loss| *loss != asked).chain([asked]).collect();
    losses.sort_by(f64::total_cmp);
    let mut text = format!("Nines in a year of {scheme}, by the nodes that are lost in a month:\n\n");
    for loss in losses {
        let nines = nines(*scheme, question, loss);
        let bar = "█".repeat((nines / NINES_MAX * BAR as f64).round() as usize);
        let (more, here) = (if nines == NINES_MAX { "+" } else { "" }, if loss == asked { "  <" } else { "" });
        let _ = writeln!(text, "{:>8}  {bar:<BAR$} {nines:.1}{more}{here}", given::percent(loss));
    }
    text
}

/// The edges of the picture's field, and the losses at them.
const LEFT: f64 = 60.0;
const RIGHT: f64 = 700.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 390.0;
const LEAST_LOSS: f64 = 0.005;
const MOST_LOSS: f64 = 0.5;
const COLOURS: [&str; 6] = ["#1f6feb", "#d1242f", "#1a7f37", "#8250df", "#bf8700", "#57606a"];

fn x(loss: f64) -> f64 {
    LEFT + (loss / LEAST_LOSS).ln() / (MOST_LOSS / LEAST_LOSS).ln() * (RIGHT - LEFT)
}

fn y(nines: f64) -> f64 {
    BOTTOM - nines / NINES_MAX * (BOTTOM - TOP)
}

/// A curve for each scheme.
pub(super) fn svg(question: &Question, planned: &[Planned]) -> String {
    let mut picture = String::from(concat!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 440" font-family="sans-serif" font-size="13">"#,
        "\n",
        r#"<rect width="900" height="440" fill="white"/>"#,
        "\n",
    ));
    axes(&mut picture, question);
    for (at, one) in planned.iter().enumerate() {
        curve(&mut picture, question, one.scheme, COLOURS[at % COLOURS.len()], 50.0 + 22.0 * at as f64);
    }
    picture + "</svg>\n"
}

fn axes(picture: &mut String, question: &Question) {
    let mut line = |from: (f64, f64), to: (f64, f64), colour: &str| {
        let _ = writeln!(
            picture,
            r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" stroke="{colour}"/>"#,
            from.0, from.1, to.0, to.1
        );
    };
    (0..=4).map(|step| y(f64::from(step) * 5.0)).for_each(|y| line((LEFT, y), (RIGHT, y), "#d0d7de"));
    LOSSES.into_iter().map(x).for_each(|x| line((x, TOP), (x, BOTTOM), "#d0d7de"));
    let aim = y((-question.aim.loss_per_year.log10()).clamp(0.0, NINES_MAX));
    line((LEFT, aim), (RIGHT, aim), "#57606a");
    let asked = x(question.network.loss_per_month.clamp(LEAST_LOSS, MOST_LOSS));
    line((asked, TOP), (asked, BOTTOM), "#57606a");
    for step in 0..=4 {
        words(picture, (LEFT - 8.0, y(f64::from(step) * 5.0) + 4.0), "end", "black", &(step * 5).to_string());
    }
    for loss in LOSSES {
        words(picture, (x(loss), BOTTOM + 18.0), "middle", "black", &given::percent(loss));
    }
    words(picture, ((LEFT + RIGHT) / 2.0, BOTTOM + 38.0), "middle", "black", "nodes lost in a month");
    words(picture, (LEFT, TOP - 10.0), "middle", "black", "nines in a year");
    words(picture, (RIGHT + 6.0, aim + 4.0), "start", "#57606a", "wanted");
}

fn curve(picture: &mut String, question: &Question, scheme: Scheme, colour: &str, legend_y: f64) {
    let step = (MOST_LOSS / LEAST_LOSS).powf(1.0 / 60.0);
    let losses = (0..=60).map(|number| LEAST_LOSS * step.powi(number));
    let points: Vec<String> =
        losses.map(|loss| format!("{:.1},{:.1}", x(loss), y(nines(scheme, question, loss)))).collect();
    let _ = writeln!(
        picture,
        r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#,
        points.join(" ")
    );
    words(picture, (RIGHT + 60.0, legend_y), "start", colour, &scheme.to_string());
}

fn words(picture: &mut String, at: (f64, f64), anchor: &str, colour: &str, text: &str) {
    let _ = writeln!(
        picture,
        r#"<text x="{:.1}" y="{:.1}" text-anchor="{anchor}" fill="{colour}">{text}</text>"#,
        at.0, at.1
    );
}
