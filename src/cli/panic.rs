//! What a defect does: one sentence, and the process is gone.
//!
//! A panic in the handling of one request fails that request alone (see
//! `env::contain`); it is logged as an error. A panic in any other task would
//! otherwise leave a server that looks alive while a part of it is dead. What was acknowledged is on disk, a start after kill -9
//! is an ordinary start, and an orchestrator restarts what has ended: so ending
//! at once is the safe thing. Not by `abort`, because a core file would hold
//! the cluster's secret, and because PID 1 of a container cannot signal itself.

use std::panic::{PanicHookInfo, set_hook};
use std::process;

use super::say;
use crate::env::is_contained;

/// The exit code that Rust programs end with after a panic.
const EXIT_CODE: i32 = 101;

/// Makes every panic, in whatever thread, end the process, unless it is
/// contained.
pub(super) fn end_the_process_on_panic() {
    set_hook(Box::new(|panic| {
        let (place, what) = describe(panic);
        if is_contained() {
            tracing::error!(place, what, "a defect in Cairn failed a request; please report it");
            return;
        }
        say(&sentence(&place, &what));
        process::exit(EXIT_CODE);
    }));
}

/// Where it happened and what it says, each on one line.
fn describe(panic: &PanicHookInfo<'_>) -> (String, String) {
    let what = panic.payload_as_str().unwrap_or("something that cannot be shown").replace('\n', " ");
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    (place, what)
}

fn sentence(place: &str, what: &str) -> String {
    format!(
        "cairn: a defect in Cairn {} ended the process at {place}: {what}; nothing that was acknowledged is lost, please report it at {}/issues",
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_REPOSITORY"),
    )
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::thread;
    use std::time::Duration;

    use super::*;

    const CHILD: &str = "PANIC_TEST_CHILD";

    /// Runs itself as a child, because a panic must end the whole process.
    #[test]
    fn a_panic_in_any_thread_ends_the_process_with_one_sentence() {
        if std::env::var_os(CHILD).is_some() {
            end_the_process_on_panic();
            assert!(crate::env::contain(|| panic!("the rain stays outside")).is_err());
            thread::spawn(|| panic!("the roof\nis leaking"));
            thread::sleep(Duration::from_secs(60));
            process::exit(0);
        }
        let name = "cli::panic::tests::a_panic_in_any_thread_ends_the_process_with_one_sentence";
        let test = std::env::current_exe().unwrap();
        let output = Command::new(test).args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(EXIT_CODE), "{stderr}");
        let lines: Vec<&str> = stderr.lines().collect();
        assert!(
            matches!(lines[..], [line] if line.contains("the roof is leaking") && line.contains("panic.rs")),
            "{stderr}"
        );
        assert!(!stderr.contains("panicked") && !stderr.contains("backtrace"), "{stderr}");
    }
}
