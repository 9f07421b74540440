//! Cairn: an S3-compatible gateway to storage that volunteers lend.
//!
//! The rooms, floor by floor, in reading order. A room uses the floors below
//! it; `tests/house.rs` reads the sources and says so when one does not.

// Ground floor: values and mathematics. No async, no I/O, no clock, no dice.
pub mod digest;
pub mod types;

// Second floor: services.
#[cfg(feature = "server")]
pub mod objects;

// Third floor: doors.
#[cfg(feature = "server")]
pub mod gateway;
