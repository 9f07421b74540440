//! S3 over HTTP: translate, nothing else.
//!
//! `front` verifies, unwraps and routes every request before s3s sees it and
//! repairs every reply after; `meter` counts them; `s3` translates between s3s and the objects
//! room; `server` and `tls` own sockets and certificates.

pub mod front;
mod meter;
pub mod s3;
pub mod server;
mod stall;
pub mod tls;

use front::{Front, FrontConfig, s3_host};
pub use meter::Meter;
use s3::S3Config;

use crate::objects::Objects;

/// S3 over a cluster's objects, as a service for `server`. Cheap to clone.
pub type Gateway = Front<s3s::service::S3Service>;

/// Puts the front and the translation before the objects.
pub fn gateway(objects: Objects, config: FrontConfig) -> Gateway {
    let translation =
        S3Config { region: config.region.clone(), owner_id: config.owner_id.clone(), owner_name: "cairn".to_owned() };
    let host = Box::new(s3_host(&config.domains));
    let inner = s3::service(objects, translation, Some(host));
    Front::new(config, inner)
}
