//! Cairn: an S3-compatible gateway to storage that volunteers lend.
//!
//! The rooms, floor by floor, in reading order. A room uses the floors below
//! it; `tests/house.rs` reads the sources and says so when one does not.

// Ground floor: values and mathematics. No async, no I/O, no clock, no dice.
pub mod audit;
pub mod digest;
pub mod erasure;
pub mod placement;
pub mod seal;
pub mod segment;
pub mod types;
pub mod wire;

// First floor: seams to the world.
#[cfg(feature = "server")]
pub mod env;
#[cfg(feature = "server")]
pub mod metadata;
#[cfg(feature = "server")]
pub mod transport;

// Second floor: services.
#[cfg(feature = "server")]
pub mod node;
#[cfg(feature = "server")]
pub mod objects;
#[cfg(feature = "server")]
pub mod transfer;
#[cfg(feature = "server")]
pub mod workers;

// Third floor: doors.
#[cfg(feature = "server")]
pub mod admin;
#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "server")]
pub mod gateway;
