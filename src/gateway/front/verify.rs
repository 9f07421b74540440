//! Whether a request was signed by someone who holds a secret key, covers all
//! that it must cover, and is of now.

use std::time::{Duration, SystemTime};

use http::header::{AUTHORIZATION, DATE, HOST};
use http::request::Parts;

use super::authorization::{Claim, parse_header, parse_query_claim};
use super::canonical::Signed;
use super::config::FrontConfig;
use super::credential::{Asked, CredentialError};
use super::encoding::Query;
use super::extensions::Caller;
use super::payload::Payload;
use super::refusal::Refusal;
use super::signature::{Chain, Signer, hex};
use super::time;

/// How far a client's clock may be off.
const SKEW_MAX: Duration = Duration::from_secs(15 * 60);
const CONTENT_SHA256: &str = "x-amz-content-sha256";

/// A request whose signature is right.
pub(super) struct Verified {
    pub(super) caller: Caller,
    pub(super) payload: Payload,
    /// Where the signatures of its chunks go on from.
    pub(super) chain: Chain,
    pub(super) presigned: bool,
}

/// Verifies a request as it arrived.
pub(super) fn verify(parts: &Parts, query: &Query, config: &FrontConfig) -> Result<Verified, Refusal> {
    let claim = find_claim(parts, query, &config.region)?;
    let timestamp = check_time(parts, &claim, (config.clock)())?;
    check_coverage(parts, &claim)?;
    let declared = declared_payload(parts, query, &claim)?;
    let payload = Payload::parse(&declared)?;
    let signer = find_signer(parts, query, &claim, config, &timestamp)?;
    let signed = Signed {
        method: &parts.method,
        raw_path: parts.uri.path(),
        query,
        headers: &parts.headers,
        signed_headers: &claim.signed_headers,
        payload: &declared,
    };
    check_signature(&signed, &signer, &claim)?;
    let chain = Chain::new(signer, &claim.signature);
    let caller = Caller { access_key_id: claim.scope.access_key_id };
    Ok(Verified { caller, payload, chain, presigned: claim.presigned.is_some() })
}

fn find_claim(parts: &Parts, query: &Query, region: &str) -> Result<Claim, Refusal> {
    let mut headers = parts.headers.get_all(AUTHORIZATION).iter();
    let header = headers.next();
    let in_query = parse_query_claim(query, region);
    let twice = headers.next().is_some() || (header.is_some() && !matches!(in_query, Ok(None)));
    if twice {
        return Err(Refusal::invalid_argument(
            "Authorization",
            "",
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
             parameter or the Authorization header should be specified",
        ));
    }
    match (header, in_query?) {
        (_, Some(claim)) => Ok(claim),
        (Some(header), None) => {
            let malformed = |_| Refusal::invalid_request("The Authorization header is not valid text.");
            parse_header(header.to_str().map_err(malformed)?, region)
        }
        (None, None) => Err(Refusal::access_denied("Access Denied: the request is not signed.")),
    }
}

/// Checks when the request was made and returns that as it was signed.
fn check_time(parts: &Parts, claim: &Claim, now: SystemTime) -> Result<String, Refusal> {
    let (timestamp, made) = match &claim.presigned {
        Some((date, _)) => (date.clone(), time::parse(date)),
        None => header_time(parts),
    };
    let Some(made) = made else {
        return Err(match claim.presigned {
            Some(_) => Refusal::new(
                400,
                "AuthorizationQueryParametersError",
                "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"",
            ),
            None => Refusal::access_denied("AWS authentication requires a valid Date or x-amz-date header"),
        });
    };
    if claim.scope.date != timestamp[..8] {
        let (code, start) = match claim.presigned {
            Some(_) => ("AuthorizationQueryParametersError", "Invalid"),
            None => ("AuthorizationHeaderMalformed", "The authorization header is malformed; invalid"),
        };
        let (date, day) = (&claim.scope.date, &timestamp[..8]);
        let message =
            format!("{start} credential date \"{date}\". This date is not the same as X-Amz-Date: \"{day}\".");
        return Err(Refusal::new(400, code, message));
    }
    match claim.presigned {
        Some((_, expires)) => check_validity(made, expires, now)?,
        None => check_skew(made, now, &timestamp)?,
    }
    Ok(timestamp)
}

fn header_time(parts: &Parts) -> (String, Option<SystemTime>) {
    let header = parts.headers.get("x-amz-date").or_else(|| parts.headers.get(DATE));
    let text = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
    match time::parse(text) {
        Some(made) => (text.to_owned(), Some(made)),
        None => match httpdate::parse_http_date(text) {
            Ok(made) => (time::format(made), Some(made)),
            Err(_) => (String::new(), None),
        },
    }
}

fn check_skew(made: SystemTime, now: SystemTime, timestamp: &str) -> Result<(), Refusal> {
    let skew = now.duration_since(made).unwrap_or_else(|error| error.duration());
    if skew <= SKEW_MAX {
        return Ok(());
    }
    let message = "The difference between the request time and the current time is too large.";
    Err(Refusal::new(403, "RequestTimeTooSkewed", message)
        .with("RequestTime", timestamp)
        .with("ServerTime", time::readable(now))
        .with("MaxAllowedSkewMilliseconds", SKEW_MAX.as_millis().to_string()))
}

fn check_validity(made: SystemTime, expires_s: u64, now: SystemTime) -> Result<(), Refusal> {
    if made > now + SKEW_MAX {
        return Err(Refusal::access_denied("Request is not yet valid").with("ServerTime", time::readable(now)));
    }
    let end = made + Duration::from_secs(expires_s);
    if now > end {
        return Err(Refusal::access_denied("Request has expired")
            .with("X-Amz-Expires", expires_s.to_string())
            .with("Expires", time::readable(end))
            .with("ServerTime", time::readable(now)));
    }
    Ok(())
}

/// Host and every `x-amz-*` header must be signed, and what is signed must be
/// there. Only `x-amz-content-sha256` may be left out: in a header-signed
/// request it is the last line of what is signed anyway; on a presigned one it
/// may then say nothing but `UNSIGNED-PAYLOAD` (see `declared_payload`).
fn check_coverage(parts: &Parts, claim: &Claim) -> Result<(), Refusal> {
    let is_signed = |name: &str| claim.signed_headers.iter().any(|signed| signed == name);
    let mut unsigned: Vec<&str> = parts
        .headers
        .keys()
        .map(|name| name.as_str())
        .filter(|name| (name.starts_with("x-amz-") && *name != CONTENT_SHA256) || *name == HOST.as_str())
        .filter(|name| !is_signed(name))
        .collect();
    if !unsigned.is_empty() {
        unsigned.sort_unstable();
        let message = "There were headers present in the request which were not signed";
        return Err(Refusal::access_denied(message).with("HeadersNotSigned", unsigned.join(", ")));
    }
    match claim.signed_headers.iter().find(|name| !parts.headers.contains_key(name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let message = format!(
                "The request signature covers the header '{name}', which did not arrive. A proxy may have removed it."
            );
            Err(Refusal::new(403, "SignatureDoesNotMatch", message))
        }
    }
}

/// The last line of the canonical request.
fn declared_payload(parts: &Parts, query: &Query, claim: &Claim) -> Result<String, Refusal> {
    let mut values = parts.headers.get_all(CONTENT_SHA256).iter();
    let header = match (values.next(), values.next()) {
        (_, Some(_)) => return Err(Refusal::invalid_request("x-amz-content-sha256 may be sent only once.")),
        (Some(value), None) => Some(value.to_str().unwrap_or_default().trim().to_owned()),
        (None, None) => None,
    };
    if claim.presigned.is_none() {
        let missing = "Missing required header for this request: x-amz-content-sha256";
        return header.ok_or_else(|| Refusal::invalid_request(missing));
    }
    let in_query = query.iter().find(|(name, _)| name == "X-Amz-Content-Sha256").map(|(_, value)| value.clone());
    let header_is_signed = claim.signed_headers.iter().any(|name| name == CONTENT_SHA256);
    match header {
        Some(value) if header_is_signed => Ok(value),
        Some(value) if value != "UNSIGNED-PAYLOAD" => {
            Err(Refusal::access_denied("There were headers present in the request which were not signed")
                .with("HeadersNotSigned", CONTENT_SHA256))
        }
        _ => Ok(in_query.unwrap_or_else(|| "UNSIGNED-PAYLOAD".to_owned())),
    }
}

fn find_signer(
    parts: &Parts,
    query: &Query,
    claim: &Claim,
    config: &FrontConfig,
    timestamp: &str,
) -> Result<Signer, Refusal> {
    let in_query = query.iter().find(|(name, _)| name == "X-Amz-Security-Token").map(|(_, value)| value.as_str());
    let in_header = parts.headers.get("x-amz-security-token").map(|value| value.to_str().unwrap_or_default());
    let session_token = if claim.presigned.is_some() { in_query.or(in_header) } else { in_header };
    let access_key_id = claim.scope.access_key_id.as_str();
    let secret =
        config.credentials.secret_key(Asked { access_key_id, session_token }).map_err(|error| match error {
            CredentialError::UnknownKey => {
                Refusal::new(403, "InvalidAccessKeyId", error.to_string()).with("AWSAccessKeyId", access_key_id)
            }
            CredentialError::InvalidToken => Refusal::new(400, "InvalidToken", error.to_string()),
            CredentialError::ExpiredToken => Refusal::new(400, "ExpiredToken", error.to_string()),
        })?;
    Ok(Signer::new(&secret, &claim.scope, timestamp))
}

fn check_signature(signed: &Signed<'_>, signer: &Signer, claim: &Claim) -> Result<(), Refusal> {
    let mut usual = None;
    for path in signed.paths()? {
        let canonical_request = signed.canonical_request(&path);
        let string_to_sign = signer.string_to_sign(&canonical_request);
        if signer.verify(&string_to_sign, &claim.signature) {
            return Ok(());
        }
        usual.get_or_insert((canonical_request, string_to_sign));
    }
    let (canonical_request, string_to_sign) = usual.unwrap_or_default();
    let message = "The request signature we calculated does not match the signature you provided. \
                   Check your key and signing method.";
    let spaced = |bytes: &[u8]| bytes.iter().map(|b| hex(&[*b])).collect::<Vec<_>>().join(" ");
    Err(Refusal::new(403, "SignatureDoesNotMatch", message)
        .with("AWSAccessKeyId", &claim.scope.access_key_id)
        .with("StringToSign", &string_to_sign)
        .with("SignatureProvided", &claim.signature)
        .with("StringToSignBytes", spaced(string_to_sign.as_bytes()))
        .with("CanonicalRequest", String::from_utf8_lossy(&canonical_request))
        .with("CanonicalRequestBytes", spaced(&canonical_request)))
}
