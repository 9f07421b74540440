//! Volunteers' nodes as people run them: a gateway, tokens, and nodes that are
//! processes of their own, on one machine. `tests/network` does the same over
//! networks that hurt.

#[path = "../support/mod.rs"]
mod support;

mod community;

mod disk;
mod health;
mod joining;
mod leaving;
mod operator;
mod readme;
