//! S3 as AWS documents it, asked of a real `cairn up`: with AWS's SDK where it
//! can say what is meant, and with requests made by hand where it cannot.
#![cfg(feature = "server")]

#[path = "../support/mod.rs"]
mod support;

mod kit;

mod bodies;
mod buckets;
mod checksums;
mod conditions;
mod copies;
mod deletes;
mod lists;
mod metadata;
mod multipart;
mod objects;
mod protocol;
mod ranges;
mod refusals;
mod signatures;
mod uploads;
