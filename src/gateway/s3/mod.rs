//! S3's protocol, translated into the objects room and back; nothing else.
//!
//! One mechanism for all operations: an [`S3Route`] that takes every request
//! raw, because most of what s3s's typed operations do between the wire and
//! the trait loses something that S3 keeps (raw metadata, `Expires: 0`, lists
//! of ETags, ignored ranges, control characters in XML, details of errors, a
//! 304 without body). s3s keeps what it does well: the service around the
//! route, hosts, paths, bodies, and S3's error codes with their statuses.
//!
//! What is expected of the layer in front: signatures are verified and taken
//! out (s3s refuses an `Authorization` it cannot check), aws-chunked framing is
//! decoded, sub-resources that are not built were refused, and a trailer that
//! names a checksum has left a [`TrailingChecksum`](crate::objects::TrailingChecksum)
//! among the request's extensions.

mod body;
mod buckets;
mod checksums;
mod complete;
mod conditions;
mod copy;
mod copy_source;
mod dates;
mod delete;
mod failure;
mod headers;
mod list;
mod names;
mod operation;
mod range;
mod read;
mod reply;
mod request;
mod upload;
mod upload_lists;
mod versions;
mod write;
mod xml;

use s3s::host::S3Host;
use s3s::route::S3Route;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::validation::NameValidation;
use s3s::{Body, S3, S3Request, S3Response, S3Result};

use crate::objects::Objects;

#[cfg(fuzzing)]
pub mod fuzz;

pub use failure::{Failure, body_error};
pub use operation::Operation;
use reply::Reply;
use request::Request;

/// What the translation has to know about its cluster.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// The region's name, e.g. `us-east-1`.
    pub region: String,
    /// The stable id of the one who owns all buckets.
    pub owner_id: String,
    /// That owner's name, for people.
    pub owner_name: String,
}

/// S3 over `objects`. `host` finds the bucket in a Host header; without it all
/// requests are path style.
pub fn service(objects: Objects, config: S3Config, host: Option<Box<dyn S3Host>>) -> S3Service {
    let mut builder = S3ServiceBuilder::new(Unbuilt);
    builder.set_validation(AnyName);
    builder.set_route(Gateway { objects, config, host });
    builder.build()
}

/// What s3s would call for requests that the route leaves to it: none.
struct Unbuilt;

impl S3 for Unbuilt {}

/// Names are checked when they become `BucketName`s, where a reason is given.
struct AnyName;

impl NameValidation for AnyName {
    fn validate_bucket_name(&self, _name: &str) -> bool {
        true
    }
}

/// The translator: an answer for every request.
struct Gateway {
    objects: Objects,
    config: S3Config,
    host: Option<Box<dyn S3Host>>,
}

#[async_trait::async_trait]
impl S3Route for Gateway {
    fn is_match(
        &self,
        _method: &http::Method,
        _uri: &http::Uri,
        _headers: &http::HeaderMap,
        _extensions: &mut http::Extensions,
    ) -> bool {
        true
    }

    async fn check_access(&self, _request: &mut S3Request<Body>) -> S3Result<()> {
        Ok(()) // decided in front, where the signature was verified
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let is_head = request.method == http::Method::HEAD;
        let reply = match Request::new(request, self.host.as_deref()) {
            Ok(request) => self.answer(request).await,
            Err(failure) => failure.into_reply(),
        };
        Ok(reply.into_response(is_head))
    }
}

impl Gateway {
    async fn answer(&self, request: Request) -> Reply {
        let (bucket, key) = (request.bucket.clone(), request.key.clone());
        let operation = match self.admit(&request) {
            Ok(operation) => operation,
            Err(failure) => return failure.about(bucket, key).into_reply(),
        };
        let result = self.perform(operation, request).await;
        let mut reply = result.unwrap_or_else(|failure| failure.about(bucket, key).into_reply());
        reply.operation = Some(operation);
        reply
    }

    fn admit(&self, request: &Request) -> Result<Operation, Failure> {
        request.check_owner(&self.config.owner_id)?;
        Operation::of(request)
    }

    async fn perform(&self, operation: Operation, request: Request) -> Result<Reply, Failure> {
        match operation {
            Operation::ListBuckets => buckets::list(self, request).await,
            Operation::CreateBucket => buckets::create(self, request).await,
            Operation::HeadBucket => buckets::head(self, request).await,
            Operation::DeleteBucket => buckets::delete(self, request).await,
            Operation::GetBucketLocation => buckets::location(self, request).await,
            Operation::GetBucketVersioning => buckets::versioning(self, request).await,
            Operation::ListObjects => list::version_1(self, request).await,
            Operation::ListObjectsV2 => list::version_2(self, request).await,
            Operation::ListObjectVersions => versions::list(self, request).await,
            Operation::PutObject => write::put(self, request).await,
            Operation::CopyObject => copy::object(self, request).await,
            Operation::GetObject => read::get(self, request).await,
            Operation::HeadObject => read::head(self, request).await,
            Operation::GetObjectAttributes => read::attributes(self, request).await,
            Operation::DeleteObject => delete::one(self, request).await,
            Operation::DeleteObjects => delete::many(self, request).await,
            Operation::CreateMultipartUpload => upload::create(self, request).await,
            Operation::UploadPart => upload::part(self, request).await,
            Operation::UploadPartCopy => copy::part(self, request).await,
            Operation::CompleteMultipartUpload => complete::complete(self, request).await,
            Operation::AbortMultipartUpload => upload::abort(self, request).await,
            Operation::ListParts => upload_lists::parts(self, request).await,
            Operation::ListMultipartUploads => upload_lists::uploads(self, request).await,
        }
    }
}
