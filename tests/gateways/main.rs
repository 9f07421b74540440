//! Several gateways on one PostgreSQL, with volunteers' nodes: real processes
//! on one machine. Whatever is asked of one gateway holds at the others at
//! once, and no gateway, database or server that goes away takes anything
//! with it that was acknowledged.
//!
//! Drills that throw dice print their seed; `CAIRN_TEST_SEED` sets it.

#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/mod.rs"]
mod support;

mod cluster;
#[path = "../s3/kit/sdk.rs"]
mod sdk;
mod shared;

mod anywhere;
mod comings;
mod conditions;
mod cost;
mod failover;
mod outages;
mod refusals;
mod trouble;
mod waiting;
mod worker;
