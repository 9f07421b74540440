//! Cairn as its users run it: the image, Docker Engines, Swarm. Real engines,
//! each in namespaces of its own, so that nothing of the machine's network,
//! mounts or processes is touched.
//!
//! It takes root and what `tests/install-clients` installs; where something is
//! missing, every test says so and fails.

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code, reason = "shared with the suite `network`, which uses more of it")]
#[path = "../network/hosts.rs"]
mod hosts;
#[allow(dead_code, reason = "shared with the suite `network`, which uses more of it")]
#[path = "../network/machine.rs"]
mod machine;

mod built;
mod document;
mod engine;
mod machines;
mod stack;

mod compose;
mod engines;
mod image;
mod refusals;
mod swarm;
