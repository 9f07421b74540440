//! S3 over HTTP: translate, nothing else.
//!
//! `front` verifies, unwraps and routes every request before s3s sees it and
//! repairs every reply after; `server` and `tls` own sockets and certificates.

pub mod front;
pub mod server;
pub mod tls;
