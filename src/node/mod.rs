//! The storage node: piece store, service, joining. Knows piece ids and
//! ciphertext; not buckets, keys, segments or who asks.

pub mod store;
