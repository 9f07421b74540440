//! The front as a whole, over real sockets.
