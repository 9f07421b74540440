//! The real programs against a real `cairn up`: each stores data that is big
//! enough to matter and compares what comes back byte for byte.
//!
//! `tests/install-clients` installs what they need; a client that is missing
//! fails its test.

#[path = "../support/mod.rs"]
mod support;

mod visit;

mod aws_cli;
mod boto3;
mod mount;
mod rclone;
mod rclone_mount;
mod registry;
