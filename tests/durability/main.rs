//! What must survive: acknowledged objects, whatever happens to the process,
//! its nodes' folders, its memory and its disk. Every drill runs a real
//! `cairn up` and compares with a record of what was acknowledged.
//!
//! Drills that throw dice print their seed; `CAIRN_TEST_SEED` sets it.

#[path = "../support/mod.rs"]
mod support;

mod cluster;
mod figures;
#[path = "../s3/kit/sdk.rs"]
mod sdk;
mod writer;

mod deaths;
mod disk;
mod folders;
mod kill;
mod memory;
mod power;
mod rolling;
mod stop;
