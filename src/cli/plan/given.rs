//! Parts, times and nines as people write them.

/// A part of a whole, from 0 to below 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::cli) struct Part(pub(in crate::cli) f64);

/// A time in hours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::cli) struct Hours(pub(in crate::cli) f64);

pub(in crate::cli) fn part(text: &str) -> Result<Part, String> {
    let number = text.strip_suffix('%').and_then(positive).filter(|percent| *percent < 100.0);
    number
        .map(|percent| Part(percent / 100.0))
        .ok_or_else(|| "expected a part below 100%, such as 3% or 0.5%".to_owned())
}

pub(in crate::cli) fn hours(text: &str) -> Result<Hours, String> {
    let units = [("m", 1.0 / 60.0), ("h", 1.0), ("d", 24.0), ("w", 168.0)];
    let known = units.iter().find_map(|(unit, hours)| Some(positive(text.strip_suffix(unit)?)? * hours));
    let sensible = known.filter(|hours| *hours > 0.0 && *hours <= 24.0 * 3660.0);
    sensible.map(Hours).ok_or_else(|| "expected a number and m, h, d or w, such as 90m or 24h".to_owned())
}

pub(in crate::cli) fn nines(text: &str) -> Result<f64, String> {
    let sensible = positive(text).filter(|nines| (0.1..=100.0).contains(nines));
    sensible.ok_or_else(|| "expected a number of nines up to 100, such as 11".to_owned())
}

/// A number that is finite and not below 0.
fn positive(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)
}

/// `3 %`, `0.05 %`.
pub(in crate::cli) fn percent(part: f64) -> String {
    let rounded = format!("{:.4}", part * 100.0);
    format!("{} %", rounded.trim_end_matches('0').trim_end_matches('.'))
}

/// `24 h`, `1.5 h`, `7 d`.
pub(in crate::cli) fn time(hours: f64) -> String {
    let (number, unit) = match hours {
        hours if hours >= 48.0 => (hours / 24.0, "d"),
        hours if hours < 1.0 => (hours * 60.0, "min"),
        hours => (hours, "h"),
    };
    let rounded = format!("{number:.1}");
    format!("{} {unit}", rounded.trim_end_matches(".0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_times_and_nines() {
        assert_eq!((part("3%"), part("0.5%"), part("0%")), (Ok(Part(0.03)), Ok(Part(0.005)), Ok(Part(0.0))));
        assert_eq!((hours("24h"), hours("90m"), hours("2d")), (Ok(Hours(24.0)), Ok(Hours(1.5)), Ok(Hours(48.0))));
        assert_eq!((nines("11"), nines("0.5")), (Ok(11.0), Ok(0.5)));
        for text in ["3", "100%", "-1%", "nan%", "inf%", "%", ""] {
            assert!(part(text).is_err(), "{text}");
        }
        for text in ["24", "0h", "-1h", "h", "1e9h", "nanh", "infd"] {
            assert!(hours(text).is_err(), "{text}");
        }
        for text in ["0", "-3", "101", "nan", "many"] {
            assert!(nines(text).is_err(), "{text}");
        }
        assert_eq!([0.03, 0.0005, 0.5].map(percent), ["3 %", "0.05 %", "50 %"]);
        assert_eq!([24.0, 1.5, 0.5, 168.0].map(time), ["24 h", "1.5 h", "30 min", "7 d"]);
    }
}
