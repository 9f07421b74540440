//! S3 over HTTP: translate, nothing else.
//!
//! `front` verifies, unwraps and routes every request before s3s sees it and
//! repairs every reply after; `server` owns sockets and TLS.

pub mod front;
