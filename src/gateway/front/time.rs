//! The times of signatures: `20130524T000000Z`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Reads `YYYYMMDDTHHMMSSZ`, strictly, years 1970 to 9999.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        bytes[range].iter().try_fold(0_u64, |sum, &b| b.is_ascii_digit().then(|| sum * 10 + u64::from(b - b'0')))
    };
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(9..11)?, number(11..13)?, number(13..15)?);
    let possible = year >= 1970 && (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if !possible || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Writes `YYYYMMDDTHHMMSSZ`.
pub(super) fn format(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Writes `YYYY-MM-DDTHH:MM:SSZ`, as S3's errors show times.
pub(super) fn readable(time: SystemTime) -> String {
    let t = format(time);
    format!("{}-{}-{}T{}:{}:{}Z", &t[..4], &t[4..6], &t[6..8], &t[9..11], &t[11..13], &t[13..15])
}

fn leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the proleptic Gregorian calendar, with years that begin in March so
/// that a leap day comes last.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era_days = year * 365 + year / 4 - year / 100 + year / 400;
    era_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

fn civil(days: u64) -> (u64, u64, u64) {
    let mut year = 1970 + days / 366;
    while days_since_1970(year + 1, 1, 1) <= days {
        year += 1;
    }
    let mut month = 12;
    while days_since_1970(year, month, 1) > days {
        month -= 1;
    }
    (year, month, days - days_since_1970(year, month, 1) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_what_they_say() {
        for (text, seconds) in [
            ("19700101T000000Z", 0),
            ("20130524T000000Z", 1_369_353_600),
            ("20000229T235959Z", 951_868_799),
            ("20261231T120000Z", 1_798_718_400),
            ("21000301T000000Z", 4_107_542_400),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(parse(text), Some(time), "{text}");
            assert_eq!(format(time), text);
        }
        assert_eq!(readable(UNIX_EPOCH), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn every_day_comes_back() {
        for day in 0..80_000 {
            let time = UNIX_EPOCH + Duration::from_secs(day * 86_400 + 43_210);
            assert_eq!(parse(&format(time)), Some(time));
        }
    }

    #[test]
    fn other_text_is_no_time() {
        for text in [
            "",
            "20130524",
            "20130524T000000",
            "20130524t000000z",
            "2013-05-24T00:00:00Z",
            "20130524T000000+",
            "20131324T000000Z",
            "20130229T000000Z",
            "20130500T000000Z",
            "20130524T240000Z",
            "+0130524T000000Z",
            "19691231T235959Z",
            "2013052éT00000Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
