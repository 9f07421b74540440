//! Operations on buckets.

use http::StatusCode;
use s3s::S3ErrorCode;

use super::body;
use super::failure::Failure;
use super::reply::Reply;
use super::request::Request;
use super::xml::writer::{Writer, document};
use super::{Gateway, dates, names};
use crate::types::limits::BUCKETS_MAX;

/// The region whose buckets have no location constraint.
const FIRST_REGION: &str = "us-east-1";

pub(super) async fn create(gateway: &Gateway, mut request: Request) -> Result<Reply, Failure> {
    if request.header("x-amz-bucket-object-lock-enabled").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Err(Failure::header_not_implemented("x-amz-bucket-object-lock-enabled"));
    }
    let bucket = request.bucket()?;
    if let Some(configuration) = body::xml(&mut request).await? {
        if configuration.name != "CreateBucketConfiguration" {
            return Err(Failure::malformed_xml());
        }
        if ["Location", "Bucket", "Tags"].iter().any(|name| configuration.all(name).next().is_some()) {
            let sentence = "Directory buckets and tags of buckets are not implemented.";
            return Err(Failure::not_implemented(sentence));
        }
        check_location(configuration.value("LocationConstraint").unwrap_or_default(), &gateway.config.region)?;
    }
    gateway.objects.create_bucket(&bucket).await?;
    let mut reply = Reply::empty(StatusCode::OK);
    reply.set("location", format!("/{bucket}"));
    Ok(reply)
}

/// A bucket can only be where this gateway is.
fn check_location(constraint: &str, region: &str) -> Result<(), Failure> {
    let is_here = constraint.is_empty() || constraint == region || (constraint == "EU" && region == "eu-west-1");
    if is_here {
        return Ok(());
    }
    let is_name = constraint.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let failure = if is_name {
        let sentence = format!(
            "The {constraint} location constraint is incompatible for the region specific endpoint this request was \
             sent to; the region here is {region}."
        );
        Failure::new(S3ErrorCode::IllegalLocationConstraintException, sentence)
    } else {
        Failure::new(S3ErrorCode::InvalidLocationConstraint, "The specified location-constraint is not valid")
            .detail("LocationConstraint", constraint)
    };
    Err(failure)
}

pub(super) async fn head(gateway: &Gateway, request: Request) -> Result<Reply, Failure> {
    gateway.objects.head_bucket(&request.bucket()?).await?;
    let mut reply = Reply::empty(StatusCode::OK);
    reply.set("x-amz-bucket-region", &gateway.config.region);
    reply.set("x-amz-access-point-alias", "false");
    Ok(reply)
}

pub(super) async fn delete(gateway: &Gateway, request: Request) -> Result<Reply, Failure> {
    gateway.objects.delete_bucket(&request.bucket()?).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn location(gateway: &Gateway, request: Request) -> Result<Reply, Failure> {
    gateway.objects.head_bucket(&request.bucket()?).await?;
    let region = gateway.config.region.as_str();
    let shown = if region == FIRST_REGION { "" } else { region };
    Ok(Reply::xml(StatusCode::OK, document("LocationConstraint", |xml| xml.text(shown))))
}

/// Versioning was never enabled, which S3 says by saying nothing.
pub(super) async fn versioning(gateway: &Gateway, request: Request) -> Result<Reply, Failure> {
    gateway.objects.head_bucket(&request.bucket()?).await?;
    Ok(Reply::xml(StatusCode::OK, document("VersioningConfiguration", |_| {})))
}

pub(super) async fn list(gateway: &Gateway, request: Request) -> Result<Reply, Failure> {
    let query = &request.query;
    let prefix = query.get("prefix").unwrap_or_default();
    let limit = query.filled("max-buckets").map_or(Ok(BUCKETS_MAX), max_buckets)?;
    let after = query.get("continuation-token").map(names::from_token).transpose()?;
    let is_elsewhere = query.filled("bucket-region").is_some_and(|region| region != gateway.config.region);
    // One more than the page holds tells whether there is another page.
    let mut buckets = match is_elsewhere {
        true => Vec::new(),
        false => gateway.objects.list_buckets(prefix, after.as_deref(), limit + 1).await?,
    };
    let is_truncated = buckets.len() > limit as usize;
    buckets.truncate(limit as usize);
    let document = document("ListAllMyBucketsResult", |xml| {
        xml.element("Owner", |xml| gateway.write_owner(xml));
        xml.element("Buckets", |xml| {
            for bucket in &buckets {
                xml.element("Bucket", |xml| {
                    xml.leaf("Name", &bucket.name);
                    xml.leaf("CreationDate", dates::iso(bucket.created));
                    if query.has("max-buckets") {
                        xml.leaf("BucketRegion", &gateway.config.region);
                    }
                });
            }
        });
        let last = buckets.last().filter(|_| is_truncated);
        xml.optional("ContinuationToken", last.map(|bucket| names::token(bucket.name.as_str())));
        xml.optional("Prefix", query.filled("prefix"));
    });
    Ok(Reply::xml(StatusCode::OK, document))
}

fn max_buckets(text: &str) -> Result<u32, Failure> {
    text.parse().ok().filter(|limit| (1..=BUCKETS_MAX).contains(limit)).ok_or_else(|| {
        let sentence = "Argument max-buckets must be an integer between 1 and 10000";
        Failure::argument("max-buckets", text, sentence)
    })
}

impl Gateway {
    /// The id and name of the one owner, inside an `Owner` or `Initiator`.
    pub(super) fn write_owner(&self, xml: &mut Writer) {
        xml.leaf("ID", &self.config.owner_id);
        xml.leaf("DisplayName", &self.config.owner_name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_here_or_nowhere() {
        let of = |constraint, region| check_location(constraint, region).map_err(|failure| failure.code().to_owned());
        assert_eq!(of("", "eu-west-1"), Ok(()));
        assert_eq!(of("us-east-1", "us-east-1"), Ok(()));
        assert_eq!(of("EU", "eu-west-1"), Ok(()));
        assert_eq!(of("eu-west-1", "us-east-1"), Err("IllegalLocationConstraintException".into()));
        assert_eq!(of("No Where", "us-east-1"), Err("InvalidLocationConstraint".into()));
    }

    #[test]
    fn pages_of_buckets_hold_1_to_10000() {
        assert_eq!((max_buckets("1").ok(), max_buckets("10000").ok()), (Some(1), Some(10_000)));
        assert!(["0", "10001", "x", "-1"].iter().all(|text| max_buckets(text).is_err()));
    }
}
