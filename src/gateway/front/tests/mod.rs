//! The front as a whole, around an inner service that tells what it was given.

mod bodies;
mod documented;
mod echo;
mod refusals;
mod replies;
mod sdk_client;
mod signatures;
mod sockets;
