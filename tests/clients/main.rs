//! The real programs against a real `cairn up`: each stores data that is big
//! enough to matter and compares what comes back byte for byte.
//!
//! `tests/install-clients` installs what they need; a client that is missing
//! fails its test.

#[path = "../support/mod.rs"]
mod support;

mod database;
mod kubernetes;
mod mount;
mod visit;

mod aws_cli;
mod backup_job;
mod boto3;
mod mount_loss;
mod pgbackrest;
mod postgres;
mod rclone;
mod rclone_mount;
mod readme;
mod registry;
mod registry_job;
mod restic;
mod s3cmd;
mod s3fs;
