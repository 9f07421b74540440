//! Logs on stderr: lines for people or JSON, never a signature.

use std::fmt;
use std::io::{self, IsTerminal};

use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use super::Failure;
use super::settings::{LogFilter, LogFormat};

/// Sends this process's events to stderr from now on.
///
/// # Errors
/// A filter that cannot be read, or logs that go somewhere already.
pub(super) fn start(filter: &LogFilter, format: LogFormat) -> Result<(), Failure> {
    let directives = filter.directives();
    let filter = EnvFilter::try_new(&directives)
        .map_err(|error| Failure::start(format!("log '{directives}' is no filter: {error}")))?;
    // A stderr that nobody reads must not end the server: the layer's own
    // report of a failed write would panic.
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).log_internal_errors(false);
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = match format {
        LogFormat::Text => lines.with_ansi(colours).with_timer(ShortTime).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // Not a directive, which a more specific one would override.
    let lines = lines.with_filter(filter).with_filter(filter_fn(|event| may_be_logged(event.target())));
    let started = tracing_subscriber::registry().with(lines).try_init();
    started.map_err(|error| Failure::start(format!("logging could not be started: {error}")))
}

/// s3s prints whole requests, Authorization included, at DEBUG.
fn may_be_logged(target: &str) -> bool {
    target != "s3s" && !target.starts_with("s3s::")
}

/// UTC to the millisecond, with a space where machines want a T.
struct ShortTime;

impl FormatTime for ShortTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let mut precise = String::new();
        SystemTime.format_time(&mut Writer::new(&mut precise))?;
        // "2026-11-21T12:00:00.123456Z"
        let millis = precise.get(..23).unwrap_or(&precise);
        write!(writer, "{}Z", millis.replace('T', " "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_library_is_never_logged() {
        for target in ["s3s", "s3s::service", "s3s::ops::signature"] {
            assert!(!may_be_logged(target));
        }
        for target in ["cairn", "cairn::gateway", "s3sentinel", "hyper"] {
            assert!(may_be_logged(target));
        }
    }

    #[test]
    fn times_are_short() {
        let mut text = String::new();
        ShortTime.format_time(&mut Writer::new(&mut text)).unwrap();
        assert_eq!(text.len(), "2026-11-21 12:00:00.123Z".len(), "{text}");
        assert!(text.ends_with('Z') && !text.contains('T'), "{text}");
    }
}
