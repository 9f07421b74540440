//! The S3 gateway: a door to the objects room.

pub mod s3;
