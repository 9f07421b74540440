//! Volunteers' nodes as people run them: a gateway, tokens, and nodes that are
//! processes of their own, on one machine. `tests/network` does the same over
//! networks that hurt.

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/postgres.rs"]
mod postgres;

mod audits;
mod disk;
mod growing;
mod health;
mod joining;
mod leaving;
mod moving;
mod operator;
mod readme;
mod secrets;
