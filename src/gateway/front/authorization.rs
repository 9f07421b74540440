//! What a request claims about its signature, in a header or in its query.

use super::encoding::Query;
use super::refusal::Refusal;

/// The only algorithm that is verified.
pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// Its counterpart with asymmetric keys, refused by name.
const ALGORITHM_ASYMMETRIC: &str = "AWS4-ECDSA-P256-SHA256";
/// Longest validity of a presigned URL: seven days.
const EXPIRES_MAX_S: u64 = 604_800;
const NOT_SUPPORTED: &str =
    "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
/// The query parameters that carry a presigned URL's claim.
pub(super) const QUERY_PARAMETERS: [&str; 6] =
    ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"];

/// A credential scope: `key/date/region/s3/aws4_request`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) access_key_id: String,
    /// `YYYYMMDD`
    pub(super) date: String,
    pub(super) region: String,
}

/// A signature and what it is said to cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) scope: Scope,
    /// Lower-case names, sorted.
    pub(super) signed_headers: Vec<String>,
    /// 64 hexadecimal digits.
    pub(super) signature: String,
    /// Of a presigned URL: its date and its validity in seconds.
    pub(super) presigned: Option<(String, u64)>,
}

/// Where a claim stood, which decides the words of its errors.
#[derive(Clone, Copy)]
enum Place {
    Header,
    Query,
}

impl Place {
    fn error(self, parameter: &str, detail: &str) -> Refusal {
        match self {
            Self::Header => {
                let message = format!("The authorization header is malformed; {detail}.");
                Refusal::new(400, "AuthorizationHeaderMalformed", message)
            }
            Self::Query => {
                let message = format!("Error parsing the {parameter} parameter; {detail}.");
                Refusal::new(400, "AuthorizationQueryParametersError", message)
            }
        }
    }
}

/// Reads an `Authorization` header.
pub(super) fn parse_header(value: &str, region: &str) -> Result<Claim, Refusal> {
    let value = value.trim();
    let (algorithm, fields) = value.split_once(' ').unwrap_or((value, ""));
    check_algorithm(algorithm)?;
    let malformed = |detail: &str| Place::Header.error("", detail);
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    for field in fields.split(',') {
        let (name, value) =
            field.trim().split_once('=').ok_or_else(|| malformed("it must be a list of 'name=value' fields"))?;
        let slot = match name {
            "Credential" => &mut credential,
            "SignedHeaders" => &mut signed_headers,
            "Signature" => &mut signature,
            _ => return Err(malformed("only Credential, SignedHeaders and Signature may stand in it")),
        };
        if slot.replace(value).is_some() {
            return Err(malformed("a field stands in it twice"));
        }
    }
    let credential = credential.ok_or_else(|| malformed("the Credential field is missing"))?;
    let signed_headers = signed_headers.ok_or_else(|| malformed("the SignedHeaders field is missing"))?;
    let signature = signature.ok_or_else(|| malformed("the Signature field is missing"))?;
    Ok(Claim {
        scope: parse_scope(credential, region, Place::Header)?,
        signed_headers: parse_signed_headers(signed_headers, Place::Header)?,
        signature: parse_signature(signature, Place::Header)?,
        presigned: None,
    })
}

/// Reads a presigned URL's parameters; `None` where there are none.
pub(super) fn parse_query_claim(query: &Query, region: &str) -> Result<Option<Claim>, Refusal> {
    let one = |wanted: &str| {
        let mut values = query.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        (values.next(), values.next())
    };
    let found = QUERY_PARAMETERS.map(one);
    if found.iter().all(|(value, _)| value.is_none()) {
        return match (one("AWSAccessKeyId").0, one("Signature").0) {
            (None, None) => Ok(None),
            _ => Err(Refusal::invalid_request(NOT_SUPPORTED)),
        };
    }
    if let (Some(algorithm), _) = found[0] {
        check_algorithm(algorithm)?;
    }
    let [
        (Some(_), None),
        (Some(credential), None),
        (Some(date), None),
        (Some(expires), None),
        (Some(headers), None),
        (Some(signature), None),
    ] = found
    else {
        let message = "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
                       X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters, each once.";
        return Err(Refusal::new(400, "AuthorizationQueryParametersError", message));
    };
    Ok(Some(Claim {
        scope: parse_scope(credential, region, Place::Query)?,
        signed_headers: parse_signed_headers(headers, Place::Query)?,
        signature: parse_signature(signature, Place::Query)?,
        presigned: Some((date.to_owned(), parse_expires(expires)?)),
    }))
}

fn check_algorithm(algorithm: &str) -> Result<(), Refusal> {
    match algorithm {
        ALGORITHM => Ok(()),
        ALGORITHM_ASYMMETRIC => Err(Refusal::not_implemented(
            "Signatures with AWS4-ECDSA-P256-SHA256 (SigV4A) are not implemented. Please use AWS4-HMAC-SHA256.",
        )),
        _ => Err(Refusal::invalid_request(NOT_SUPPORTED)),
    }
}

fn parse_scope(text: &str, region: &str, place: Place) -> Result<Scope, Refusal> {
    let error = |detail: &str| place.error("X-Amz-Credential", detail);
    let fields: Vec<&str> = text.rsplitn(5, '/').collect();
    let [terminator, service, scope_region, date, access_key_id] = fields[..] else {
        return Err(error(
            "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\"",
        ));
    };
    if access_key_id.is_empty() {
        return Err(error("a non-empty Access Key (AKID) must be provided in the credential"));
    }
    if date.len() != 8 || !date.bytes().all(|b| b.is_ascii_digit()) {
        let detail = format!("incorrect date format \"{date}\". This date in the credential must be \"yyyyMMdd\"");
        return Err(error(&detail));
    }
    if scope_region != region {
        let detail = format!("the region '{scope_region}' is wrong; expecting '{region}'");
        return Err(error(&detail).with("Region", region));
    }
    if service != "s3" {
        let detail = format!("incorrect service \"{service}\". This endpoint belongs to \"s3\"");
        return Err(error(&detail));
    }
    if terminator != "aws4_request" {
        let detail = format!("incorrect terminal \"{terminator}\". This endpoint uses \"aws4_request\"");
        return Err(error(&detail));
    }
    Ok(Scope { access_key_id: access_key_id.to_owned(), date: date.to_owned(), region: scope_region.to_owned() })
}

fn parse_signed_headers(text: &str, place: Place) -> Result<Vec<String>, Refusal> {
    let mut names: Vec<String> = text.split(';').map(str::to_owned).collect();
    let name_is_good = |name: &String| {
        let token = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b);
        !name.is_empty() && name.bytes().all(token)
    };
    if !names.iter().all(name_is_good) {
        let detail = "the signed headers must be lower-case header names separated by ';'";
        return Err(place.error("X-Amz-SignedHeaders", detail));
    }
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(place.error("X-Amz-SignedHeaders", "a signed header is named twice"));
    }
    Ok(names)
}

fn parse_signature(text: &str, place: Place) -> Result<String, Refusal> {
    let good = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let detail = "the signature must be 64 lower-case hexadecimal digits";
    if good { Ok(text.to_owned()) } else { Err(place.error("X-Amz-Signature", detail)) }
}

fn parse_expires(text: &str) -> Result<u64, Refusal> {
    let error = |message: &'static str| Refusal::new(400, "AuthorizationQueryParametersError", message);
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(error("X-Amz-Expires should be a number: seconds, at least 1."));
    }
    match text.parse() {
        Ok(0) => Err(error("X-Amz-Expires must be at least 1 second.")),
        Ok(expires @ 1..=EXPIRES_MAX_S) => Ok(expires),
        _ => Err(error("X-Amz-Expires must be less than a week (in seconds); that is, it must be at most 604800.")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gateway::front::encoding::parse_query;

    const SIGNATURE: &str = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";

    fn header(fields: &str) -> Result<Claim, Refusal> {
        parse_header(&format!("AWS4-HMAC-SHA256 {fields}"), "us-east-1")
    }

    #[test]
    fn the_usual_header_is_understood_with_and_without_spaces() {
        for separator in [",", ", ", " , "] {
            let claim = header(&format!(
                "Credential=A/K/20130524/us-east-1/s3/aws4_request{separator}SignedHeaders=range;host{separator}Signature={SIGNATURE}"
            ))
            .unwrap();
            assert_eq!(claim.scope.access_key_id, "A/K");
            assert_eq!(claim.signed_headers, ["host", "range"]);
        }
    }

    #[test]
    fn every_deviation_has_its_code() {
        let good = "20130524/us-east-1/s3/aws4_request";
        for (credential, headers, signature) in [
            (format!("/{good}"), "host", SIGNATURE),
            ("AK".to_owned(), "host", SIGNATURE),
            (format!("AK/{}", &good[1..]), "host", SIGNATURE),
            ("AK/20130524/eu-west-1/s3/aws4_request".to_owned(), "host", SIGNATURE),
            ("AK/20130524/us-east-1/sts/aws4_request".to_owned(), "host", SIGNATURE),
            ("AK/20130524/us-east-1/s3/aws5_request".to_owned(), "host", SIGNATURE),
            (format!("AK/{good}"), "", SIGNATURE),
            (format!("AK/{good}"), "Host", SIGNATURE),
            (format!("AK/{good}"), "host;;range", SIGNATURE),
            (format!("AK/{good}"), "host;host", SIGNATURE),
            (format!("AK/{good}"), "host", ""),
            (format!("AK/{good}"), "host", &SIGNATURE[1..]),
            (format!("AK/{good}"), "host", &SIGNATURE.to_uppercase()),
            (format!("AK/{good},Extra=1"), "host", SIGNATURE),
            (format!("AK/{good},Signature={SIGNATURE}"), "host", SIGNATURE),
        ] {
            let text = format!("Credential={credential}, SignedHeaders={headers}, Signature={signature}");
            assert_eq!(header(&text).unwrap_err().code, "AuthorizationHeaderMalformed", "{text}");
        }
        assert_eq!(header("").unwrap_err().code, "AuthorizationHeaderMalformed");
    }

    #[test]
    fn a_wrong_region_is_answered_with_the_right_one() {
        let refusal = header("Credential=AK/20130524/eu-west-1/s3/aws4_request").unwrap_err();
        assert_eq!(refusal.code, "AuthorizationHeaderMalformed");
        let text = format!("Credential=AK/20130524/eu/s3/aws4_request,SignedHeaders=host,Signature={SIGNATURE}");
        assert_eq!(header(&text).unwrap_err().details, [("Region".into(), "us-east-1".into())]);
    }

    #[test]
    fn other_mechanisms_are_refused_by_name() {
        for (text, code) in [
            ("AWS AK:c2ln", "InvalidRequest"),
            ("Bearer x", "InvalidRequest"),
            ("", "InvalidRequest"),
            ("AWS4-ECDSA-P256-SHA256 Credential=x", "NotImplemented"),
        ] {
            assert_eq!(parse_header(text, "us-east-1").unwrap_err().code, code, "{text}");
        }
        let sig_v2 = parse_query("AWSAccessKeyId=AK&Signature=x&Expires=1").unwrap();
        assert_eq!(parse_query_claim(&sig_v2, "us-east-1").unwrap_err().code, "InvalidRequest");
    }

    #[test]
    fn presigned_parameters_must_all_be_there_once_and_in_bounds() {
        let whole = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature={SIGNATURE}"
        );
        let parse = |text: &str| parse_query_claim(&parse_query(text).unwrap(), "us-east-1");
        assert_eq!(parse(&whole).unwrap().unwrap().presigned, Some(("20130524T000000Z".into(), 86_400)));
        assert!(parse("a=b").unwrap().is_none());
        for parameter in whole.split('&') {
            let missing = whole.replace(parameter, "");
            assert_eq!(parse(&missing).unwrap_err().code, "AuthorizationQueryParametersError", "{missing}");
            let twice = format!("{whole}&{parameter}");
            assert_eq!(parse(&twice).unwrap_err().code, "AuthorizationQueryParametersError", "{twice}");
        }
        for expires in ["0", "-1", "604801", "1e3", "", "99999999999999999999999"] {
            let text = whole.replace("86400", expires);
            assert_eq!(parse(&text).unwrap_err().code, "AuthorizationQueryParametersError", "{expires}");
        }
        assert!(parse(&whole.replace("86400", "604800")).is_ok());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = parse_header(&text, "us-east-1");
            let _ = header(&text);
        }
    }
}
