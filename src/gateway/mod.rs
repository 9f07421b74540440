//! S3 over HTTP: translate, nothing else.
//!
//! `front` verifies, unwraps and routes every request before s3s sees it and
//! repairs every reply after; `s3` translates between s3s and the objects
//! room; `server` and `tls` own sockets and certificates.

pub mod front;
pub mod s3;
pub mod server;
pub mod tls;
