//! Which operation a request asks for: method, level and sub-resource decide.

use http::Method;
use s3s::S3ErrorCode;

use super::failure::Failure;
use super::request::Request;

macro_rules! operations {
    ($($name:ident),+ $(,)?) => {
        /// An operation of S3 that is built. Responses carry it among their
        /// extensions, for the log.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Operation { $(
            #[doc = concat!("S3's ", stringify!($name), ".")]
            $name,
        )+ }

        impl Operation {
            /// The name that S3's documentation gives it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }
        }
    };
}

operations! {
    ListBuckets, CreateBucket, HeadBucket, DeleteBucket, GetBucketLocation, GetBucketVersioning,
    ListObjects, ListObjectsV2, ListObjectVersions,
    PutObject, CopyObject, GetObject, HeadObject, GetObjectAttributes, DeleteObject, DeleteObjects,
    CreateMultipartUpload, UploadPart, UploadPartCopy, CompleteMultipartUpload, AbortMultipartUpload,
    ListParts, ListMultipartUploads,
}

impl Operation {
    pub(super) fn of(request: &Request) -> Result<Self, Failure> {
        match (&request.bucket, &request.key) {
            (_, Some(_)) => on_object(request),
            (Some(_), None) => on_bucket(request),
            (None, None) if request.method == Method::GET => Ok(Self::ListBuckets),
            (None, None) => Err(not_allowed()),
        }
    }
}

fn on_bucket(request: &Request) -> Result<Operation, Failure> {
    let has = |name| request.query.has(name);
    match request.method {
        Method::HEAD => Ok(Operation::HeadBucket),
        Method::PUT => Ok(Operation::CreateBucket),
        Method::DELETE => Ok(Operation::DeleteBucket),
        Method::POST if has("delete") => Ok(Operation::DeleteObjects),
        Method::POST => Err(Failure::not_implemented("A POST to a bucket other than ?delete is not implemented.")),
        Method::GET if has("location") => Ok(Operation::GetBucketLocation),
        Method::GET if has("versioning") => Ok(Operation::GetBucketVersioning),
        Method::GET if has("uploads") => Ok(Operation::ListMultipartUploads),
        Method::GET if has("versions") => Ok(Operation::ListObjectVersions),
        Method::GET => match request.query.get("list-type") {
            None | Some("1") => Ok(Operation::ListObjects),
            Some("2") => Ok(Operation::ListObjectsV2),
            Some(other) => Err(Failure::argument("list-type", other, "Invalid List Type specified in Request")),
        },
        _ => Err(not_allowed()),
    }
}

fn on_object(request: &Request) -> Result<Operation, Failure> {
    let has = |name| request.query.has(name);
    let copies = request.headers.contains_key("x-amz-copy-source");
    match request.method {
        Method::HEAD => Ok(Operation::HeadObject),
        Method::GET if has("uploadId") => Ok(Operation::ListParts),
        Method::GET if has("attributes") => Ok(Operation::GetObjectAttributes),
        Method::GET => Ok(Operation::GetObject),
        Method::PUT if has("uploadId") || has("partNumber") => {
            Ok(if copies { Operation::UploadPartCopy } else { Operation::UploadPart })
        }
        Method::PUT => Ok(if copies { Operation::CopyObject } else { Operation::PutObject }),
        Method::DELETE if has("uploadId") => Ok(Operation::AbortMultipartUpload),
        Method::DELETE => Ok(Operation::DeleteObject),
        Method::POST if has("uploads") => Ok(Operation::CreateMultipartUpload),
        Method::POST if has("uploadId") => Ok(Operation::CompleteMultipartUpload),
        _ => Err(not_allowed()),
    }
}

fn not_allowed() -> Failure {
    Failure::new(S3ErrorCode::MethodNotAllowed, "The specified method is not allowed against this resource.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(method: &str, uri: &str) -> Result<&'static str, String> {
        let request = Request::for_tests(method, uri, &[]);
        Operation::of(&request).map(Operation::name).map_err(|failure| failure.code().to_owned())
    }

    #[test]
    fn method_level_and_sub_resource_decide() {
        for (method, uri, name) in [
            ("GET", "/", "ListBuckets"),
            ("PUT", "/bucket", "CreateBucket"),
            ("PUT", "/bucket/", "CreateBucket"),
            ("GET", "/bucket?prefix=x", "ListObjects"),
            ("GET", "/bucket?list-type=2", "ListObjectsV2"),
            ("GET", "/bucket?versions", "ListObjectVersions"),
            ("GET", "/bucket?uploads", "ListMultipartUploads"),
            ("GET", "/bucket?location=", "GetBucketLocation"),
            ("POST", "/bucket?delete", "DeleteObjects"),
            ("GET", "/bucket/key", "GetObject"),
            ("GET", "/bucket//", "GetObject"),
            ("GET", "/bucket/key?attributes", "GetObjectAttributes"),
            ("GET", "/bucket/key?uploadId=u", "ListParts"),
            ("PUT", "/bucket/key?x-id=PutObject", "PutObject"),
            ("PUT", "/bucket/key?partNumber=1&uploadId=u", "UploadPart"),
            ("POST", "/bucket/key?uploads", "CreateMultipartUpload"),
            ("POST", "/bucket/key?uploadId=u", "CompleteMultipartUpload"),
            ("DELETE", "/bucket/key?uploadId=u", "AbortMultipartUpload"),
            ("DELETE", "/bucket/key", "DeleteObject"),
        ] {
            assert_eq!(operation(method, uri), Ok(name), "{method} {uri}");
        }
    }

    #[test]
    fn a_copy_source_makes_a_copy() {
        let copy = [("x-amz-copy-source", "/b/k")];
        let of = |uri| Operation::of(&Request::for_tests("PUT", uri, &copy)).map(Operation::name).ok();
        assert_eq!(of("/bucket/key"), Some("CopyObject"));
        assert_eq!(of("/bucket/key?partNumber=1&uploadId=u"), Some("UploadPartCopy"));
    }

    #[test]
    fn what_is_not_built_is_refused() {
        assert_eq!(operation("PUT", "/"), Err("MethodNotAllowed".into()));
        assert_eq!(operation("POST", "/bucket"), Err("NotImplemented".into()));
        assert_eq!(operation("PATCH", "/bucket/key"), Err("MethodNotAllowed".into()));
        assert_eq!(operation("GET", "/bucket?list-type=3"), Err("InvalidArgument".into()));
    }
}
