//! Nodes on other machines: real processes in real network namespaces, behind
//! routers, on long and thin lines, cut off, stopped, moved and lying, while
//! boto3 writes and reads. What was acknowledged must be there afterwards.
//!
//! One cluster of a gateway and sixteen nodes serves all tests, one after the
//! other. It takes root, network namespaces and what `tests/install-clients`
//! installs; where one of them is missing, every test says so and fails.

#[path = "../support/mod.rs"]
mod support;

mod machine;

mod faults;
mod hosts;
mod nat;

mod cluster;
mod gateway;
mod load;
mod node;
mod view;

mod leaving;
mod liar;
mod links;
mod outages;
mod proof;
mod refusals;
mod stalls;
mod tail;
