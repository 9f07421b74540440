//! Segments over real sockets, with nodes that misbehave.
