//! The harness itself: engines run side by side and leave nothing behind.

use std::io::Read as _;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use crate::engine::Engine;
use crate::hosts::namespaces;
use crate::support::poll;

/// Loads an image of nothing but busybox.
fn load_busybox(engine: &Engine) {
    let context = engine.work().folder("busybox");
    std::fs::copy("/bin/busybox", context.join("busybox")).expect("busybox-static is installed");
    std::fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY busybox /bin/\n").expect("room for a file");
    engine.docker(["build", "--quiet", "--tag", "busybox", "."]).current_dir(&context).run();
}

fn run_sleeper(engine: &Engine, name: &str) -> String {
    load_busybox(engine);
    engine.docker(["run", "--detach", "--name", name, "busybox", "/bin/busybox", "sleep", "600"]).run();
    let listed = engine.docker(["ps", "--format", "{{.Names}}"]).run().text();
    assert_eq!(listed.trim(), name, "an engine has only its own containers");
    engine.docker(["inspect", "--format", "{{.State.Pid}}", name]).run().text()
}

#[test]
fn engines_are_alone_and_leave_nothing() {
    let folders = ["left", "right"].map(|name| {
        let engine = Engine::start();
        run_sleeper(&engine, name);
        let space = engine.space().name().to_owned();
        assert!(namespaces().contains(&space), "{space} is a network of its own");
        let folder = engine.work().path().to_owned();
        let init = engine.init();
        drop(engine);
        assert!(!Path::new(&format!("/proc/{init}")).exists(), "its processes are gone");
        assert!(!namespaces().contains(&space), "its network is gone");
        for controller in std::fs::read_dir("/sys/fs/cgroup").expect("cgroups are mounted").flatten() {
            assert!(!controller.path().join(&space).exists(), "its cgroups are gone");
        }
        folder
    });
    assert!(folders.iter().all(|folder| !folder.exists()), "its files are gone: {folders:?}");
}

#[test]
fn published_ports_are_reached_from_inside() {
    let engine = Engine::start();
    load_busybox(&engine);
    let serve = ["busybox", "/bin/busybox", "nc", "-ll", "-p", "7", "-e", "/bin/busybox", "echo", "hello"];
    engine.docker(["run", "--detach", "--publish", "7000:7"]).args(serve).run();
    let said = engine.inside(|| {
        poll(Duration::from_secs(60), Duration::from_millis(50), || {
            let mut said = String::new();
            TcpStream::connect("127.0.0.1:7000").ok()?.read_to_string(&mut said).ok()?;
            (!said.is_empty()).then_some(said)
        })
    });
    assert_eq!(said.as_deref(), Some("hello\n"), "{}", engine.log());
    assert!(engine.invoke("hostname").run().text().starts_with("engine"), "programs see its namespaces");
}

#[test]
fn an_engine_comes_back_with_its_containers() {
    let engine = Engine::start();
    run_sleeper(&engine, "sleeper");
    engine.power_off();
    engine.power_on();
    let state = engine.docker(["inspect", "--format", "{{.State.Status}}", "sleeper"]).run().text();
    assert_eq!(state.trim(), "exited", "it is known, and does not run");
    engine.docker(["start", "sleeper"]).run();
}
