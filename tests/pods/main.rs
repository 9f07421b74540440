//! What docker/kubernetes deploys, without Kubernetes: each pod is the real program
//! with the arguments, variables, configuration and secrets that its manifest gives
//! it, as its user, alone in a root that cannot be written, in a network and process
//! namespace of its own. Names are resolved by a hosts file, and probes are asked as
//! a kubelet asks them. PostgreSQL is a real one.
//!
//! It takes root, as tests/network does. tests/kubernetes/run does the same with a
//! real kubelet, which takes twenty minutes.

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/postgres.rs"]
mod postgres;

#[path = "../network/machine.rs"]
mod machine;

#[path = "../network/hosts.rs"]
#[allow(dead_code, reason = "another suite's, of which this uses a part")]
mod hosts;

#[path = "../manifests/render.rs"]
#[allow(dead_code, reason = "another suite's, of which this uses a part")]
mod render;

mod cluster;
mod pod;

mod running;
mod wrong;
