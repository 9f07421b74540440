//! What each step took, and the record of a run that went well in
//! `docs/kubernetes.md`, between its two marks.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::programs::package;
use crate::support::cairn::tell;

const PAGE: &str = "docs/kubernetes.md";
const MARK: &str = "<!-- record -->";

/// What was not the real thing, so that nobody takes the record for more than it is.
const STAND_INS: &str = "\
Real there: etcd, API server, scheduler, controllers, kubelet and kube-proxy 1.20, a Docker Engine, rclone, PostgreSQL, the
registry. Stood in for: `ru.yandex.s3.csi` by a plug-in of the tests' own, which calls rclone with that driver's flags and unmounts
as it does (so what is tested is the classes, the options, the kubelet's part and rclone; not the driver's program, its provisioner
or `ch.ctrox.csi.s3-driver`); CoreDNS by a small name server; images that cannot be pulled by the same programs from
Debian's packages (PostgreSQL 15 under the name `postgres:17`). Three things of newer versions are as the overlays in
`tests/kubernetes/overlay` say: `preStop.sleep` is the program `sleep`, the sidecar that ends last is a container, and
StatefulSets have no `minReadySeconds`. Network policies are accepted, but nothing enforces them; nothing measures for the autoscaler.
";

/// The steps so far.
pub struct Record {
    begun: Instant,
    steps: Vec<(&'static str, Duration)>,
}

impl Record {
    pub fn new() -> Self {
        Self { begun: Instant::now(), steps: Vec::new() }
    }

    /// Does a step and notes how long it took.
    pub fn step<T>(&mut self, what: &'static str, work: impl FnOnce() -> T) -> T {
        tell(&format!("{:>4} s  {what}", self.begun.elapsed().as_secs()));
        let begun = Instant::now();
        let result = work();
        self.steps.push((what, begun.elapsed()));
        result
    }

    /// Puts the record of this run in the place of the last one.
    pub fn write(&self) {
        let page = std::fs::read_to_string(package(PAGE)).unwrap_or_else(|error| panic!("{PAGE}: {error}"));
        let parts: Vec<&str> = page.split(MARK).collect();
        let [before, _, after] = parts[..] else { panic!("{PAGE} needs {MARK} twice: before and after the record") };
        let text = self.text();
        std::fs::write(package(PAGE), format!("{before}{MARK}\n{text}\n{MARK}{after}"))
            .expect("the page can be written");
        tell(&text);
    }

    fn text(&self) -> String {
        let total = self.begun.elapsed().as_secs();
        let commit = say("git", &["rev-parse", "--short=12", "HEAD"]);
        let changed = say("git", &["status", "--porcelain", "--", "src", "docker", "tests", "Cargo.lock"]);
        let changed = if changed.is_empty() { "" } else { " with changes" };
        let day = say("date", &["--utc", "+%Y-%m-%d"]);
        let rows = self.steps.iter().map(|(what, took)| format!("| {what} | {:.0} |\n", took.as_secs_f64()));
        format!(
            "{day}, commit `{commit}`{changed}: passed in {total} s.\n\n| step | seconds |\n|---|---|\n{}\n{STAND_INS}",
            rows.collect::<String>()
        )
    }
}

fn say(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(package(".")).output();
    let output = output.unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
