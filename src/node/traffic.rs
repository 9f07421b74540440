//! How much a node has received and sent, by day: `traffic.json` in its folder.
//!
//! ```json
//! {"format":1, "days":{"2026-11-21":{"received_bytes":10,"sent_bytes":20}}}
//! ```
//!
//! Days are the node's own, in UTC. Each has its own count, so that a clock
//! that jumps ahead and back loses nothing of the day that it comes back to.
//! It is written at most once a minute: a crash loses that much. A file that
//! cannot be read is begun anew, because figures are no reason not to serve.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::env::write_private;
use crate::types::UnixMillis;

const FILE: &str = "traffic.json";
const FORMAT: u16 = 1;
/// Days that are kept: more than a month has.
const DAYS_MAX: usize = 70;

/// Bytes on the network, TLS included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bytes {
    /// Bytes that came in.
    pub received_bytes: u64,
    /// Bytes that went out.
    pub sent_bytes: u64,
}

impl Bytes {
    fn add(&mut self, more: Bytes) {
        self.received_bytes = self.received_bytes.saturating_add(more.received_bytes);
        self.sent_bytes = self.sent_bytes.saturating_add(more.sent_bytes);
    }

    fn less(self, before: Bytes) -> Bytes {
        Bytes {
            received_bytes: self.received_bytes.saturating_sub(before.received_bytes),
            sent_bytes: self.sent_bytes.saturating_sub(before.sent_bytes),
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    format: u16,
    days: BTreeMap<String, Bytes>,
}

/// The counts by day.
#[derive(Debug)]
pub(super) struct TrafficLog {
    folder: PathBuf,
    days: BTreeMap<String, Bytes>,
    /// What the process had counted when it was last added.
    added: Bytes,
    changed: bool,
}

impl TrafficLog {
    /// Goes on with the folder's counts.
    pub(super) fn open(folder: &Path) -> Self {
        let days = read(&folder.join(FILE));
        Self { folder: folder.to_owned(), days, added: Bytes::default(), changed: false }
    }

    /// Adds what has passed since the last time; `total` is what the process
    /// has counted since it began.
    pub(super) fn add(&mut self, now: UnixMillis, total: Bytes) {
        let more = total.less(self.added);
        self.added = total;
        if more == Bytes::default() {
            return;
        }
        self.changed = true;
        let today = date(now);
        self.days.entry(today.clone()).or_default().add(more);
        while self.days.len() > DAYS_MAX {
            // The oldest; or, where a clock that was ahead left days to come, the last.
            match self.days.first_entry().filter(|first| *first.key() != today) {
                Some(first) => drop(first.remove()),
                None => drop(self.days.pop_last()),
            }
        }
    }

    /// This day's bytes.
    pub(super) fn today(&self, now: UnixMillis) -> Bytes {
        self.days.get(&date(now)).copied().unwrap_or_default()
    }

    /// This month's bytes.
    pub(super) fn month(&self, now: UnixMillis) -> Bytes {
        let month = date(now)[..7].to_owned();
        let mut sum = Bytes::default();
        self.days.iter().filter(|(day, _)| day.starts_with(&month)).for_each(|(_, bytes)| sum.add(*bytes));
        sum
    }

    /// Writes the counts if they have changed since.
    pub(super) fn save(&mut self) -> io::Result<()> {
        if !self.changed {
            return Ok(());
        }
        let json = serde_json::to_vec(&Stored { format: FORMAT, days: self.days.clone() })?;
        write_private(&self.folder, FILE, &json)?;
        self.changed = false;
        Ok(())
    }
}

fn read(path: &Path) -> BTreeMap<String, Bytes> {
    let unreadable = |reason: String| {
        tracing::warn!(path = %path.display(), reason, "the traffic of past days cannot be read and is counted anew");
        BTreeMap::new()
    };
    match fs::read(path) {
        Ok(json) => match serde_json::from_slice::<Stored>(&json) {
            Ok(stored) if stored.format == FORMAT => stored.days,
            Ok(stored) => unreadable(format!("its format is {}", stored.format)),
            Err(error) => unreadable(error.to_string()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => unreadable(error.to_string()),
    }
}

/// `YYYY-MM-DD` in UTC.
fn date(now: UnixMillis) -> String {
    // Days since 1 March of the year 0; eras of 400 years repeat exactly.
    let days = now.0.div_euclid(86_400_000) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    /// 2026-11-30, 23:00 UTC.
    const LATE: i64 = 1_796_079_600_000;

    fn bytes(received_bytes: u64, sent_bytes: u64) -> Bytes {
        Bytes { received_bytes, sent_bytes }
    }

    #[test]
    fn dates_are_the_calendars() {
        for (millis, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_399_999, "2000-02-28"),
            (951_782_400_000, "2000-02-29"),
            (LATE, "2026-11-30"),
            (LATE + HOUR, "2026-12-01"),
            (4_107_542_400_000, "2100-03-01"),
        ] {
            assert_eq!(date(UnixMillis(millis)), text);
        }
    }

    #[test]
    fn days_and_months_begin_at_zero_and_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = TrafficLog::open(folder.path());
        log.add(UnixMillis(LATE - 24 * HOUR), bytes(1, 2));
        log.add(UnixMillis(LATE), bytes(11, 2));
        assert_eq!((log.today(UnixMillis(LATE)), log.month(UnixMillis(LATE))), (bytes(10, 0), bytes(11, 2)));
        log.save().unwrap();
        let mut log = TrafficLog::open(folder.path());
        // A new process counts from zero.
        log.add(UnixMillis(LATE), bytes(5, 5));
        assert_eq!((log.today(UnixMillis(LATE)), log.month(UnixMillis(LATE))), (bytes(15, 5), bytes(16, 7)));
        let next = UnixMillis(LATE + HOUR);
        assert_eq!((log.today(next), log.month(next)), (bytes(0, 0), bytes(0, 0)));
    }

    #[test]
    fn a_clock_that_jumps_loses_nothing_and_piles_nothing_up() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = TrafficLog::open(folder.path());
        let now = UnixMillis(LATE);
        let mut total = 0;
        let mut pass = |log: &mut TrafficLog, at: i64| {
            total += 1;
            log.add(UnixMillis(at), bytes(total, 0));
        };
        for days in 1..=20 {
            pass(&mut log, LATE + days * 24 * HOUR);
            pass(&mut log, LATE - days * 24 * HOUR);
            pass(&mut log, LATE);
        }
        assert_eq!(log.today(now).received_bytes, 20);
        for days in 1..1000 {
            pass(&mut log, LATE + days * 24 * HOUR);
        }
        assert!(log.days.len() <= DAYS_MAX);
        pass(&mut log, LATE);
        assert!(log.today(now).received_bytes >= 1);
    }

    #[test]
    fn a_damaged_file_stops_nobody() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "[]", r#"{"format":9,"days":{}}"#, r#"{"format":1,"days":{"x":1}}"#] {
            fs::write(folder.path().join(FILE), text).unwrap();
            let mut log = TrafficLog::open(folder.path());
            log.add(UnixMillis(LATE), bytes(1, 1));
            log.save().unwrap();
            assert_eq!(TrafficLog::open(folder.path()).today(UnixMillis(LATE)), bytes(1, 1));
        }
    }
}
