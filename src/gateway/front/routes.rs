//! Which operation a request is, and which query parameters that has.
//!
//! An allow-list: s3s gets to see no other parameter, because it runs the
//! plain operation when it does not know one (`DELETE /b?acl` would delete the
//! bucket).

use http::{HeaderValue, Method};

use super::answers::{Answer, find_answer};
use super::encoding::Query;
use super::operation::Operation::{self, *};
use super::refusal::Refusal;
use super::target::Level;

/// A method on a level, told from others by the parameters `selectors`.
struct Route {
    method: Method,
    level: Level,
    operation: Operation,
    selectors: &'static [&'static str],
    /// What else the operation acts on.
    parameters: &'static [&'static str],
}

const fn route(
    method: Method,
    level: Level,
    operation: Operation,
    selectors: &'static [&'static str],
    parameters: &'static [&'static str],
) -> Route {
    Route { method, level, operation, selectors, parameters }
}

const READ: &[&str] = &[
    "partNumber",
    "versionId",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
];
const LIST: &[&str] = &["delimiter", "encoding-type", "marker", "max-keys", "prefix"];
const LIST_V2: &[&str] =
    &["continuation-token", "delimiter", "encoding-type", "fetch-owner", "max-keys", "prefix", "start-after"];
const LIST_VERSIONS: &[&str] = &["delimiter", "encoding-type", "key-marker", "max-keys", "prefix", "version-id-marker"];
const LIST_UPLOADS: &[&str] =
    &["delimiter", "encoding-type", "key-marker", "max-uploads", "prefix", "upload-id-marker"];

const ROUTES: &[Route] = &[
    route(
        Method::GET,
        Level::Service,
        ListBuckets,
        &[],
        &["bucket-region", "continuation-token", "max-buckets", "prefix"],
    ),
    route(Method::PUT, Level::Bucket, CreateBucket, &[], &[]),
    route(Method::HEAD, Level::Bucket, HeadBucket, &[], &[]),
    route(Method::DELETE, Level::Bucket, DeleteBucket, &[], &[]),
    route(Method::GET, Level::Bucket, ListObjects, &[], LIST),
    route(Method::GET, Level::Bucket, ListObjectsV2, &["list-type"], LIST_V2),
    route(Method::GET, Level::Bucket, ListMultipartUploads, &["uploads"], LIST_UPLOADS),
    route(Method::GET, Level::Bucket, GetBucketLocation, &["location"], &[]),
    route(Method::GET, Level::Bucket, GetBucketVersioning, &["versioning"], &[]),
    route(Method::GET, Level::Bucket, ListObjectVersions, &["versions"], LIST_VERSIONS),
    route(Method::POST, Level::Bucket, DeleteObjects, &["delete"], &[]),
    route(Method::GET, Level::Object, GetObject, &[], READ),
    route(Method::HEAD, Level::Object, HeadObject, &[], READ),
    route(Method::GET, Level::Object, GetObjectAttributes, &["attributes"], &["versionId"]),
    route(Method::GET, Level::Object, ListParts, &["uploadId"], &["encoding-type", "max-parts", "part-number-marker"]),
    route(Method::PUT, Level::Object, PutObject, &[], &[]),
    route(Method::PUT, Level::Object, UploadPart, &["partNumber", "uploadId"], &[]),
    route(Method::POST, Level::Object, CreateMultipartUpload, &["uploads"], &[]),
    route(Method::POST, Level::Object, CompleteMultipartUpload, &["uploadId"], &[]),
    route(Method::DELETE, Level::Object, DeleteObject, &[], &["versionId"]),
    route(Method::DELETE, Level::Object, AbortMultipartUpload, &["uploadId"], &[]),
];

/// Parameters that change what a request means, wherever they stand. One that
/// the operation does not have is refused, with or without a value.
const MEANINGFUL: &[&str] = &[
    "accelerate",
    "acl",
    "analytics",
    "append",
    "attributes",
    "cors",
    "defaultObjectAcl",
    "delete",
    "encryption",
    "events",
    "id",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "list-type",
    "location",
    "logging",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "select-type",
    "session",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// Numbers that some clients send empty, meaning the default.
const NUMBERS: &[&str] = &["max-buckets", "max-keys", "max-parts", "max-uploads", "part-number-marker"];

/// What a request asks for, with the parameters that count.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) operation: Operation,
    pub(super) query: Query,
    /// The answer to a `GetSetting`.
    pub(super) answer: Option<&'static Answer>,
}

/// Finds the operation. The query must be without the parameters of a
/// presigned URL's signature.
pub(super) fn resolve(method: &Method, level: Level, mut query: Query, copies: bool) -> Result<Resolved, Refusal> {
    // The first version's number is its absence.
    query.retain(|(name, value)| !(name == "list-type" && value == "1"));
    let has = |wanted: &&str| query.iter().any(|(name, _)| name == wanted);
    let answer = (*method == Method::GET).then(|| find_answer(level, &query)).flatten();
    if let Some(answer) = answer {
        let query = sift(query, &[&[answer.parameter], &["versionId"]])?;
        return Ok(Resolved { operation: GetSetting, query, answer: Some(answer) });
    }
    let route = ROUTES
        .iter()
        .filter(|route| route.method == *method && route.level == level && route.selectors.iter().all(has))
        .max_by_key(|route| route.selectors.len());
    let Some(route) = route else {
        sift(query, &[])?;
        return Err(method_not_allowed(level));
    };
    let query = sift(query, &[route.selectors, route.parameters])?;
    if let Some((_, value)) = query.iter().find(|(name, value)| name == "list-type" && value != "2") {
        return Err(Refusal::invalid_argument("list-type", value, "Invalid List Type specified in Request"));
    }
    let operation = match route.operation {
        PutObject if copies => CopyObject,
        UploadPart if copies => UploadPartCopy,
        other => other,
    };
    Ok(Resolved { operation, query, answer: None })
}

/// Keeps the parameters of `allowed`, drops those without meaning and refuses
/// the rest.
fn sift(query: Query, allowed: &[&[&str]]) -> Result<Query, Refusal> {
    let mut kept = Query::new();
    for (name, value) in query {
        if !allowed.iter().any(|names| names.contains(&name.as_str())) {
            let meaningful = value.is_empty() || MEANINGFUL.contains(&name.as_str()) || is_amz(&name);
            if meaningful && name != "x-id" {
                return Err(not_built(&name));
            }
        } else if kept.iter().any(|(other, _)| *other == name) {
            return Err(Refusal::invalid_argument(&name, &value, "A query parameter may be given only once."));
        } else if !(value.is_empty() && NUMBERS.contains(&name.as_str())) {
            kept.push((name, value));
        }
    }
    Ok(kept)
}

fn is_amz(name: &str) -> bool {
    name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"))
}

fn not_built(name: &str) -> Refusal {
    let message = match name {
        "partNumber" | "uploadId" => {
            "This request does not accept 'partNumber' or 'uploadId' alone: an upload of a part needs both.".to_owned()
        }
        _ => format!(
            "The query parameter '{}' is not implemented for this kind of request, and ignoring it would do something \
             else than was asked.",
            name.escape_debug()
        ),
    };
    match name {
        "partNumber" | "uploadId" => Refusal::invalid_argument(name, "", message),
        _ => Refusal::not_implemented(message),
    }
}

fn method_not_allowed(level: Level) -> Refusal {
    let allowed = match level {
        Level::Service => "GET",
        Level::Bucket => "GET, HEAD, PUT, DELETE",
        Level::Object => "GET, HEAD, PUT, POST, DELETE",
    };
    let message = "The specified method is not allowed against this resource.";
    Refusal::new(405, "MethodNotAllowed", message).with_header(http::header::ALLOW, HeaderValue::from_static(allowed))
}

/// Refuses what needs no signature to be refused: methods that S3 does not
/// have, and preflights and forms, which carry theirs elsewhere or nowhere.
pub(super) fn check_method(method: &Method, level: Level, content_type: Option<&HeaderValue>) -> Result<(), Refusal> {
    let is_form = content_type.is_some_and(|value| {
        value.as_bytes().get(..19).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/form-data"))
    });
    match *method {
        // s3s would take any POST of this content type for a form.
        Method::POST if is_form => Err(Refusal::not_implemented(
            "Uploads by HTML form (POST Object), and multipart uploads of an object of that type, are not implemented.",
        )),
        Method::GET | Method::HEAD | Method::PUT | Method::POST | Method::DELETE => Ok(()),
        Method::OPTIONS => {
            Err(Refusal::new(403, "AccessForbidden", "CORSResponse: CORS is not enabled for this bucket."))
        }
        _ => Err(method_not_allowed(level)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::front::encoding::parse_query;

    fn ask(method: Method, level: Level, query: &str) -> Result<Resolved, Refusal> {
        resolve(&method, level, parse_query(query).unwrap(), false)
    }

    #[test]
    fn operations_are_told_apart_by_their_parameters() {
        for (method, level, query, operation) in [
            (Method::GET, Level::Service, "x-id=ListBuckets", ListBuckets),
            (Method::GET, Level::Bucket, "prefix=a&t=12345", ListObjects),
            (Method::GET, Level::Bucket, "list-type=2&prefix=", ListObjectsV2),
            (Method::GET, Level::Bucket, "uploads", ListMultipartUploads),
            (Method::GET, Level::Bucket, "location=", GetBucketLocation),
            (Method::POST, Level::Bucket, "delete", DeleteObjects),
            (Method::GET, Level::Object, "partNumber=1&versionId=null", GetObject),
            (Method::GET, Level::Object, "uploadId=u&max-parts=2", ListParts),
            (Method::PUT, Level::Object, "x-id=PutObject", PutObject),
            (Method::PUT, Level::Object, "partNumber=1&uploadId=u", UploadPart),
            (Method::POST, Level::Object, "uploads=", CreateMultipartUpload),
            (Method::POST, Level::Object, "uploadId=u", CompleteMultipartUpload),
            (Method::DELETE, Level::Object, "uploadId=u", AbortMultipartUpload),
            (Method::DELETE, Level::Object, "", DeleteObject),
            (Method::GET, Level::Bucket, "list-type=1&marker=m", ListObjects),
            (Method::GET, Level::Bucket, "versions&key-marker=k", ListObjectVersions),
            (Method::GET, Level::Bucket, "policy", GetSetting),
        ] {
            assert_eq!(ask(method, level, query).unwrap().operation, operation, "{query}");
        }
    }

    #[test]
    fn nothing_falls_through_to_another_operation() {
        for method in [Method::PUT, Method::DELETE, Method::POST, Method::HEAD] {
            for parameter in MEANINGFUL {
                for level in [Level::Bucket, Level::Object] {
                    for query in [(*parameter).to_owned(), format!("{parameter}=3")] {
                        let known = ROUTES.iter().any(|route| {
                            route.method == method
                                && route.level == level
                                && (route.selectors == [*parameter] || route.parameters.contains(parameter))
                        });
                        assert_eq!(ask(method.clone(), level, &query).is_ok(), known, "{method} {level:?} {query}");
                    }
                }
            }
        }
        for query in ["encryption", "x-amz-acl=public-read", "X-Amz-Tagging=a", "soon", "soon="] {
            assert_eq!(ask(Method::PUT, Level::Object, query).unwrap_err().status, 501, "{query}");
        }
    }

    #[test]
    fn half_a_part_is_no_object() {
        for query in ["partNumber=1", "uploadId=u"] {
            assert_eq!(ask(Method::PUT, Level::Object, query).unwrap_err().code, "InvalidArgument");
        }
    }

    #[test]
    fn only_what_counts_is_passed_on() {
        let query = ask(Method::GET, Level::Bucket, "x-id=a&list-type=2&cache=1&max-keys=&prefix=p").unwrap().query;
        assert_eq!(query, [("list-type".to_owned(), "2".to_owned()), ("prefix".into(), "p".into())]);
        assert_eq!(ask(Method::GET, Level::Bucket, "prefix=a&prefix=b").unwrap_err().code, "InvalidArgument");
        assert_eq!(ask(Method::GET, Level::Bucket, "list-type=3").unwrap_err().code, "InvalidArgument");
    }

    #[test]
    fn methods_that_s3_does_not_have() {
        assert_eq!(check_method(&Method::PATCH, Level::Object, None).unwrap_err().status, 405);
        assert_eq!(check_method(&Method::OPTIONS, Level::Object, None).unwrap_err().code, "AccessForbidden");
        let form = HeaderValue::from_static("multipart/form-data; boundary=x");
        assert_eq!(check_method(&Method::POST, Level::Bucket, Some(&form)).unwrap_err().status, 501);
        assert_eq!(ask(Method::POST, Level::Object, "").unwrap_err().status, 405);
        assert_eq!(ask(Method::PUT, Level::Service, "").unwrap_err().status, 405);
        assert_eq!(ask(Method::PUT, Level::Service, "acl").unwrap_err().status, 501);
    }
}
