//! The schemes of a plan, and what each of them is worth.

use serde_json::{Value, json};

use super::Question;
use crate::cli::{Failure, text};
use crate::erasure::{Aim, Durability, Scheme, cheapest};

/// A scheme on the network.
pub(super) struct Planned {
    pub(super) scheme: Scheme,
    pub(super) durability: Durability,
    /// Where it comes from.
    note: &'static str,
}

impl Planned {
    fn new(scheme: Scheme, note: &'static str, question: &Question) -> Self {
        Self { scheme, durability: Durability::of(scheme, &question.network), note }
    }

    /// Bytes that are kept for a byte, from the acknowledgement on, and with all pieces.
    fn stored(&self) -> [f64; 2] {
        [self.scheme.optimal(), self.scheme.total()].map(|pieces| f64::from(pieces) / f64::from(self.scheme.required()))
    }

    pub(super) fn as_json(&self, aim: &Aim) -> Value {
        let [least, most] = self.stored();
        json!({
            "scheme": self.scheme.to_string(),
            "note": self.note,
            "survives_at_acknowledgement": self.scheme.survives_at_ack(),
            "survives_while_repaired": self.scheme.survives_steady(),
            "loss_per_year": self.durability.loss_per_year,
            "nines": self.durability.nines(),
            "is_durable_enough": self.durability.loss_per_year <= aim.loss_per_year,
            "stored_bytes_per_byte": [least, most],
            "repairs_per_segment_and_month": self.durability.repairs_per_month,
            "repair_bytes_per_byte_and_month": self.durability.repair_bytes_per_month,
        })
    }
}

/// Cairn's own for so many domains, and the cheapest that is durable enough.
pub(super) fn suggested(question: &Question) -> Vec<Planned> {
    let own = Scheme::default_for(question.network.domains);
    let mut planned = vec![Planned::new(own, "Cairn's own for so many domains", question)];
    if let Some((scheme, _)) = cheapest(&question.network, question.aim).filter(|(scheme, _)| *scheme != own) {
        planned.push(Planned::new(scheme, "the cheapest that is durable enough", question));
    }
    planned
}

/// Those that were asked for.
///
/// # Errors
/// One sentence where the network cannot keep one.
pub(super) fn given(schemes: &[Scheme], question: &Question) -> Result<Vec<Planned>, Failure> {
    if let Some(scheme) = schemes.iter().find(|scheme| u32::from(scheme.total()) > question.nodes) {
        return Err(Failure::start(format!(
            "no segment of {scheme} can be kept on {} nodes: it has {} pieces, each on a node of its own",
            question.nodes,
            scheme.total()
        )));
    }
    Ok(schemes.iter().map(|scheme| Planned::new(*scheme, "", question)).collect())
}

pub(super) fn table(planned: &[Planned]) -> String {
    let rows: Vec<Vec<String>> = planned.iter().map(row).collect();
    text::table(&["SCHEME", "SURVIVES", "LOST IN A YEAR", "NINES", "STORED", "REPAIR A MONTH", ""], &rows)
}

fn row(one: &Planned) -> Vec<String> {
    let Planned { scheme, durability, note } = one;
    let [least, most] = one.stored();
    vec![
        scheme.to_string(),
        format!("{} at first, then {}", scheme.survives_at_ack(), scheme.survives_steady()),
        format!("{:.1e}", durability.loss_per_year),
        format!("{:.1}", durability.nines()),
        format!("{least:.2} to {most:.2} times"),
        format!("{:.3} times", durability.repair_bytes_per_month),
        (*note).to_owned(),
    ]
}
