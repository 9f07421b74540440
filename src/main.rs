//! The program: parses arguments, wires rooms together, exits.
fn main() {}
