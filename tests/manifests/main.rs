//! The manifests under docker/kubernetes without a cluster: rendered by the real
//! kubectl and helm, validated strictly, compared with each other, with what the
//! program knows and with what stands in the other files.
//!
//! `tests/install-clients` installs the programs. tests/kubernetes/run applies the
//! same manifests to a real cluster.

#[path = "../support/mod.rs"]
mod support;

mod contract;
mod pods;
mod refusals;
mod render;
mod same;
mod settings;
mod valid;
