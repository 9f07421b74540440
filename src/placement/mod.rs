//! Which nodes take a segment's pieces: pure functions of what is known of the
//! nodes and a seed.
//!
//! Knows failure domains, free space, recent success and trust; not what the
//! pieces are or how they travel.

mod choose;
mod domains;

pub use choose::{Candidate, Wish, choose, domains};
pub use domains::{DomainFacts, failure_domains};
