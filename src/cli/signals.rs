//! Signals: SIGTERM and SIGINT ask to stop, a second one insists. SIGHUP is
//! ignored, because TLS files are read again by themselves. As PID 1 of a
//! container, this process also buries the orphans that it inherits. (SIGPIPE
//! is ignored by Rust's runtime.)

use std::io;
use std::process;

use rustix::process::{WaitOptions, getpid, waitpid};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;
use crate::env::Shutdown;

/// Turns signals into orders to stop, from now until the process ends.
///
/// # Errors
/// When the operating system does not let signals be caught.
pub(super) fn listen(shutdown: Shutdown) -> Result<(), Failure> {
    let catch = |kind| signal(kind).map_err(|error| cannot_catch(&error));
    let (terminate, interrupt) = (catch(SignalKind::terminate())?, catch(SignalKind::interrupt())?);
    let hang_up = catch(SignalKind::hangup())?;
    tokio::spawn(stop_when_asked(terminate, interrupt, shutdown));
    tokio::spawn(ignore(hang_up));
    if getpid().is_init() {
        tokio::spawn(bury_orphans(catch(SignalKind::child())?));
    }
    Ok(())
}

fn cannot_catch(error: &io::Error) -> Failure {
    Failure::start(format!("signals cannot be caught: {error}"))
}

async fn stop_when_asked(mut terminate: Signal, mut interrupt: Signal, shutdown: Shutdown) {
    loop {
        let kind = tokio::select! {
            Some(()) = terminate.recv() => SignalKind::terminate(),
            Some(()) = interrupt.recv() => SignalKind::interrupt(),
            else => return,
        };
        if !shutdown.request() {
            process::exit(128 + kind.as_raw_value());
        }
        let seconds = shutdown.remaining().unwrap_or_default().as_secs_f32().round();
        tracing::info!(
            "stopping: finishing what is in flight, for {seconds} s at most; a second signal ends it at once"
        );
    }
}

async fn ignore(mut hang_up: Signal) {
    while hang_up.recv().await.is_some() {
        tracing::info!("SIGHUP changes nothing: TLS files are read again when they change");
    }
}

async fn bury_orphans(mut child: Signal) {
    while child.recv().await.is_some() {
        // One signal may stand for several children.
        while let Ok(Some((orphan, _))) = waitpid(None, WaitOptions::NOHANG) {
            tracing::debug!(pid = orphan.as_raw_nonzero().get(), "an orphan ended");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use rustix::process::{Pid, Signal as Kind, kill_process};

    use super::*;

    const CHILD: &str = "SIGNAL_TEST_CHILD";

    /// This test binary again, as a process that may be sent signals.
    fn child(test: &str, program: &str, before: &[&str]) -> (Child, impl Iterator<Item = String> + use<>) {
        let mut command = Command::new(program);
        command.args(before).args(["--exact", &format!("cli::signals::tests::{test}"), "--nocapture"]);
        let mut child = command.env(CHILD, "1").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        (child, lines)
    }

    fn this_binary() -> String {
        std::env::current_exe().unwrap().to_str().unwrap().to_owned()
    }

    fn in_child(body: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(body);
        process::exit(0);
    }

    #[test]
    fn one_signal_asks_a_second_insists_and_sighup_means_nothing() {
        if std::env::var_os(CHILD).is_some() {
            in_child(async {
                let shutdown = Shutdown::new(Duration::from_secs(60));
                listen(shutdown.clone()).unwrap();
                super::super::say("listening");
                shutdown.requested().await;
                super::super::say("asked");
                shutdown.expired().await;
            });
        }
        for (kind, code) in [(Kind::TERM, 143), (Kind::INT, 130)] {
            let (mut child, mut lines) =
                child("one_signal_asks_a_second_insists_and_sighup_means_nothing", &this_binary(), &[]);
            let pid = Pid::from_child(&child);
            assert_eq!(lines.next().as_deref(), Some("listening"));
            kill_process(pid, Kind::HUP).unwrap();
            kill_process(pid, kind).unwrap();
            assert_eq!(lines.next().as_deref(), Some("asked"));
            kill_process(pid, kind).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(code));
        }
    }

    /// Processes other than the first, zombies included.
    fn others() -> usize {
        let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let pid: u32 = entry.unwrap().file_name().to_str()?.parse().ok()?;
            (pid != 1).then_some(pid)
        });
        processes.count()
    }

    /// Needs a PID namespace of its own, as a container has.
    #[test]
    fn pid_1_leaves_no_zombies() {
        if std::env::var_os(CHILD).is_some() {
            in_child(async {
                assert!(getpid().is_init());
                listen(Shutdown::new(Duration::ZERO)).unwrap();
                // `true` outlives its parent, and so becomes this process's.
                let orphan_maker = "for i in 1 2 3; do (sleep 0.1; true) & done";
                let mut parent = Command::new("sh").args(["-c", orphan_maker]).spawn().unwrap();
                let _ = parent.wait();
                let begun = Instant::now();
                while others() > 0 && begun.elapsed() < Duration::from_secs(60) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                super::super::say(&format!("left: {}", others()));
            });
        }
        let namespace = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"];
        let binary = this_binary();
        let arguments: Vec<&str> = namespace.into_iter().chain([binary.as_str()]).collect();
        let (mut child, lines) = child("pid_1_leaves_no_zombies", "unshare", &arguments);
        let said: Vec<String> = lines.collect();
        assert!(child.wait().unwrap().success(), "{said:?}");
        assert_eq!(said, ["left: 0"]);
    }
}
