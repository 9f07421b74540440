//! PutObject.

use http::StatusCode;
use s3s::S3ErrorCode;

use super::failure::Failure;
use super::reply::Reply;
use super::request::Request;
use super::{Gateway, body, checksums, conditions, headers};
use crate::digest::Algorithm;
use crate::objects::{ObjectError, Put, Stored, WriteCondition};

/// What S3 computes where the client declares nothing.
const DEFAULT: Algorithm = Algorithm::Crc64Nvme;

pub(super) async fn put(gateway: &Gateway, mut request: Request) -> Result<Reply, Failure> {
    let put = Put {
        address: request.address()?,
        headers: headers::of_request(&request.headers)?,
        condition: conditions::of_write(&request)?,
    };
    let condition = put.condition.clone();
    let incoming = body::incoming(&mut request, Some(DEFAULT))?;
    let stored = gateway.objects.put(put, incoming).await.map_err(|error| write_error(error, &condition))?;
    let mut reply = Reply::empty(StatusCode::OK);
    give_stored(&mut reply, &stored);
    Ok(reply)
}

fn give_stored(reply: &mut Reply, stored: &Stored) {
    reply.set("etag", format!("\"{}\"", stored.etag));
    if let Some(checksum) = &stored.checksum {
        checksums::give(reply, checksum);
    }
}

/// A write that lost against another says so by a code of its own where the
/// client had set a condition.
pub(super) fn write_error(error: ObjectError, condition: &WriteCondition) -> Failure {
    match error {
        ObjectError::Conflict if *condition != WriteCondition::default() => {
            let sentence =
                "The conditional request cannot succeed due to a conflicting operation against this resource.";
            Failure::new(S3ErrorCode::ConditionalRequestConflict, sentence)
        }
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::ETagMatch;

    #[test]
    fn a_conflict_is_named_by_what_was_asked() {
        let conditional = WriteCondition { if_none_match: Some(ETagMatch::Any), ..WriteCondition::default() };
        assert_eq!(write_error(ObjectError::Conflict, &conditional).code(), "ConditionalRequestConflict");
        assert_eq!(write_error(ObjectError::Conflict, &WriteCondition::default()).code(), "OperationAborted");
        assert_eq!(write_error(ObjectError::NoSuchKey, &conditional).code(), "NoSuchKey");
    }
}
