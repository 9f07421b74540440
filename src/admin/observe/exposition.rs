//! Prometheus' text format, version 0.0.4.

use std::fmt::{Display, Write as _};

/// A page of metrics that is being written.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

/// The samples of one metric.
pub struct Family<'a> {
    name: &'static str,
    page: &'a mut Exposition,
}

impl Exposition {
    /// Begins a number that goes up and down.
    pub fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, help, "gauge")
    }

    /// Begins a number that only grows while the process runs.
    pub fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, help, "counter")
    }

    /// Writes how values are spread: `counts` has one more entry than `bounds`,
    /// for those above the last one.
    pub fn histogram(&mut self, name: &'static str, help: &str, bounds: &[f64], counts: &[u64], sum: f64) {
        let family = self.family(name, help, "histogram");
        let mut below = 0;
        for (at, count) in counts.iter().enumerate() {
            below += count;
            let bound = bounds.get(at).map_or_else(|| "+Inf".to_owned(), f64::to_string);
            let _ = writeln!(family.page.text, "{name}_bucket{{le=\"{bound}\"}} {below}");
        }
        let _ = writeln!(family.page.text, "{name}_sum {sum}\n{name}_count {below}");
    }

    /// All of it.
    pub fn into_text(self) -> String {
        self.text
    }

    fn family(&mut self, name: &'static str, help: &str, kind: &str) -> Family<'_> {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { name, page: self }
    }
}

impl Family<'_> {
    /// Adds a value under these labels, whose values need no escaping.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        let labels: Vec<String> = labels.iter().map(|(name, text)| format!("{name}=\"{text}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.page.text, "{}{labels} {value}", self.name);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_as_prometheus_reads_it() {
        let mut page = Exposition::default();
        page.gauge("nodes", "Nodes").sample(&[("state", "active"), ("zone", "a")], 3).sample(&[], 0.5);
        page.histogram("seconds", "Time", &[0.1, 5.0], &[2, 0, 1], 7.25);
        let expected = "# HELP nodes Nodes\n# TYPE nodes gauge\nnodes{state=\"active\",zone=\"a\"} 3\nnodes 0.5\n\
                        # HELP seconds Time\n# TYPE seconds histogram\nseconds_bucket{le=\"0.1\"} 2\n\
                        seconds_bucket{le=\"5\"} 2\nseconds_bucket{le=\"+Inf\"} 3\nseconds_sum 7.25\nseconds_count 3\n";
        assert_eq!(page.into_text(), expected);
    }
}
