//! What must survive: acknowledged objects, whatever happens to the process,
//! its nodes' folders, its memory and its disk; whichever nodes die, rot or lie.
//! Every drill runs a real `cairn up`, or a gateway and nodes that are processes of their
//! own, and compares with a record of what was acknowledged.
//!
//! Drills that throw dice print their seed; `CAIRN_TEST_SEED` sets it.

#[path = "../support/mod.rs"]
mod support;

mod cluster;
mod figures;
mod logs;
#[path = "../s3/kit/sdk.rs"]
mod sdk;
mod writer;

mod away;
mod clocks;
mod damaged;
mod deaths;
mod disk;
mod faults;
mod folders;
mod kill;
mod liars;
mod memory;
mod power;
mod rolling;
mod rot;
mod stop;
