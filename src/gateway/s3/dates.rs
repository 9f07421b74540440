//! Dates as HTTP and as S3's XML write them. Both say whole seconds, so that
//! a list and a HEAD agree.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::types::UnixMillis;

/// The last second that both forms can say: the end of the year 9999.
const LAST_SECOND: i64 = 253_402_300_799;

fn shown_seconds(time: UnixMillis) -> i64 {
    time.whole_seconds().clamp(0, LAST_SECOND)
}

/// E.g. `Wed, 21 Oct 2015 07:28:00 GMT`.
pub(super) fn http(time: UnixMillis) -> String {
    httpdate::fmt_http_date(SystemTime::from(UnixMillis(shown_seconds(time) * 1000)))
}

/// E.g. `2015-10-21T07:28:00.000Z`.
pub(super) fn iso(time: UnixMillis) -> String {
    let seconds = shown_seconds(time);
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000Z")
}

/// Seconds since 1970 of a date in any of HTTP's three forms.
pub(super) fn parse(text: &str) -> Option<i64> {
    let time = httpdate::parse_http_date(text.trim()).ok()?;
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// Year, month and day of a day since 1970, by Howard Hinnant's
/// `civil_from_days`: years that begin in March keep leap days at the end.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_shown_in_both_forms() {
        for (millis, iso_form, http_form) in [
            (0, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 GMT"),
            (1_445_412_480_999, "2015-10-21T07:28:00.000Z", "Wed, 21 Oct 2015 07:28:00 GMT"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z", "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z", "Sun, 28 Feb 2100 23:59:59 GMT"),
            (-5, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 GMT"),
            (i64::MAX, "9999-12-31T23:59:59.000Z", "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(iso(UnixMillis(millis)), iso_form);
            assert_eq!(http(UnixMillis(millis)), http_form);
        }
    }

    #[test]
    fn all_three_forms_are_read() {
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(parse(text), Some(784_111_777), "{text}");
        }
        assert_eq!(parse("yesterday"), None);
        assert_eq!(parse("0"), None);
    }
}
