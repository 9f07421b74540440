//! True answers about settings that cannot be made in this release.
//!
//! Clients ask for these before they do what they are for; S3 has an answer for
//! a bucket where nobody ever set anything, and every bucket here is one.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};

use super::encoding::Query;
use super::refusal::{Refusal, element};
use super::target::Level;

/// What is answered to a GET of one sub-resource.
#[derive(Debug)]
pub(super) struct Answer {
    level: Level,
    pub(super) parameter: &'static str,
    says: Says,
}

#[derive(Debug)]
enum Says {
    /// There is none: status, code and sentence.
    Nothing(u16, &'static str, &'static str),
    /// An XML document's body and the root's name.
    Document(&'static str, &'static str),
}

const fn nothing(level: Level, parameter: &'static str, code: &'static str, message: &'static str) -> Answer {
    Answer { level, parameter, says: Says::Nothing(404, code, message) }
}

const fn document(level: Level, parameter: &'static str, root: &'static str, body: &'static str) -> Answer {
    Answer { level, parameter, says: Says::Document(root, body) }
}

/// `OWNER` stands for the owner's id.
const ACL: &str = "<Owner><ID>OWNER</ID></Owner><AccessControlList><Grant>\
    <Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"><ID>OWNER</ID></Grantee>\
    <Permission>FULL_CONTROL</Permission></Grant></AccessControlList>";
const ENCRYPTION: &str = "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>\
    </ApplyServerSideEncryptionByDefault><BucketKeyEnabled>false</BucketKeyEnabled></Rule>";
const NO_LOCK: &str = "Bucket is missing Object Lock Configuration";

const ANSWERS: &[Answer] = &[
    document(Level::Bucket, "accelerate", "AccelerateConfiguration", ""),
    document(Level::Bucket, "acl", "AccessControlPolicy", ACL),
    nothing(Level::Bucket, "cors", "NoSuchCORSConfiguration", "The CORS configuration does not exist"),
    document(Level::Bucket, "encryption", "ServerSideEncryptionConfiguration", ENCRYPTION),
    nothing(Level::Bucket, "lifecycle", "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist"),
    document(Level::Bucket, "logging", "BucketLoggingStatus", ""),
    document(Level::Bucket, "notification", "NotificationConfiguration", ""),
    nothing(
        Level::Bucket,
        "object-lock",
        "ObjectLockConfigurationNotFoundError",
        "Object Lock configuration does not exist for this bucket",
    ),
    nothing(
        Level::Bucket,
        "ownershipControls",
        "OwnershipControlsNotFoundError",
        "The bucket ownership controls were not found",
    ),
    nothing(Level::Bucket, "policy", "NoSuchBucketPolicy", "The bucket policy does not exist"),
    nothing(Level::Bucket, "policyStatus", "NoSuchBucketPolicy", "The bucket policy does not exist"),
    nothing(
        Level::Bucket,
        "publicAccessBlock",
        "NoSuchPublicAccessBlockConfiguration",
        "The public access block configuration was not found",
    ),
    nothing(
        Level::Bucket,
        "replication",
        "ReplicationConfigurationNotFoundError",
        "The replication configuration was not found",
    ),
    document(Level::Bucket, "requestPayment", "RequestPaymentConfiguration", "<Payer>BucketOwner</Payer>"),
    nothing(Level::Bucket, "tagging", "NoSuchTagSet", "The TagSet does not exist"),
    nothing(
        Level::Bucket,
        "website",
        "NoSuchWebsiteConfiguration",
        "The specified bucket does not have a website configuration",
    ),
    document(Level::Object, "acl", "AccessControlPolicy", ACL),
    Answer { level: Level::Object, parameter: "legal-hold", says: Says::Nothing(400, "InvalidRequest", NO_LOCK) },
    Answer { level: Level::Object, parameter: "retention", says: Says::Nothing(400, "InvalidRequest", NO_LOCK) },
    document(Level::Object, "tagging", "Tagging", "<TagSet></TagSet>"),
];

/// The answer to a GET with this query, where there is one.
pub(super) fn find_answer(level: Level, query: &Query) -> Option<&'static Answer> {
    ANSWERS.iter().find(|answer| answer.level == level && query.iter().any(|(name, _)| name == answer.parameter))
}

impl Answer {
    /// The reply, for a bucket or object that exists.
    pub(super) fn reply(&self, owner_id: &str) -> Result<Response<Bytes>, Refusal> {
        let (root, body) = match self.says {
            Says::Nothing(status, code, message) => return Err(Refusal::new(status, code, message)),
            Says::Document(root, body) => (root, body),
        };
        let mut id = String::new();
        element(&mut id, "ID", owner_id);
        let body = body.replace("<ID>OWNER</ID>", &id);
        let xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <{root} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{body}</{root}>"
        );
        let mut response = Response::new(Bytes::from(xml));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_is_well_formed_and_names_the_owner() {
        for answer in ANSWERS {
            let Ok(response) = answer.reply("a<b") else { continue };
            let text = String::from_utf8(response.body().to_vec()).unwrap();
            let mut reader = quick_xml::Reader::from_str(&text);
            while !matches!(reader.read_event().unwrap(), quick_xml::events::Event::Eof) {}
            assert!(answer.parameter != "acl" || text.matches("<ID>a&lt;b</ID>").count() == 2);
        }
    }
}
