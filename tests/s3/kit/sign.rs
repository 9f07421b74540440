//! SigV4 by hand, so that every part of it can be wrong on purpose.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html>

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::{digest, hmac};

use super::raw::Request;
use crate::support::cairn::Access;
use crate::support::data::hex;

/// Who signs, when and for where.
#[derive(Clone)]
pub struct Signer {
    pub key: String,
    pub secret: String,
    pub region: String,
    pub service: String,
    pub time: SystemTime,
}

impl Signer {
    /// The one that the server knows, now.
    pub fn new(access: &Access) -> Self {
        Self {
            key: access.key.clone(),
            secret: access.secret.clone(),
            region: access.region.clone(),
            service: "s3".to_owned(),
            time: SystemTime::now(),
        }
    }

    /// `yyyyMMdd'T'HHmmss'Z'`.
    pub fn timestamp(&self) -> String {
        timestamp(self.time)
    }

    /// `yyyyMMdd/region/service/aws4_request`.
    pub fn scope(&self) -> String {
        format!("{}/{}/{}/aws4_request", &self.timestamp()[..8], self.region, self.service)
    }

    fn signing_key(&self) -> Vec<u8> {
        let date = hmac(format!("AWS4{}", self.secret).as_bytes(), &self.timestamp()[..8]);
        let service = hmac(&hmac(&date, &self.region), &self.service);
        hmac(&service, "aws4_request")
    }

    /// The signature of what an algorithm's string to sign ends with.
    pub fn sign(&self, algorithm: &str, rest: &str) -> String {
        let text = format!("{algorithm}\n{}\n{}\n{rest}", self.timestamp(), self.scope());
        hex(&hmac(&self.signing_key(), &text))
    }

    /// Signs with an Authorization header. Returns the signature.
    pub fn header(&self, request: &mut Request) -> String {
        request.set("x-amz-date", self.timestamp());
        if request.find("x-amz-content-sha256").is_none() {
            let hash = sha256(&request.body);
            request.set("x-amz-content-sha256", hash);
        }
        let payload = String::from_utf8_lossy(request.find("x-amz-content-sha256").unwrap_or_default()).into_owned();
        let names = signed_names(request);
        let signature = self.signature(request, &names, &payload);
        request.set(
            "authorization",
            format!(
                "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={signature}",
                self.key,
                self.scope(),
                names.join(";")
            ),
        );
        signature
    }

    /// Signs in the query, for `expires` seconds.
    pub fn query(&self, request: &mut Request, expires: u64) {
        let names = signed_names(request);
        for (name, value) in [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("X-Amz-Credential", format!("{}/{}", self.key, self.scope())),
            ("X-Amz-Date", self.timestamp()),
            ("X-Amz-Expires", expires.to_string()),
            ("X-Amz-SignedHeaders", names.join(";")),
        ] {
            request.query.push((name.to_owned(), value));
        }
        let signature = self.signature(request, &names, "UNSIGNED-PAYLOAD");
        request.query.push(("X-Amz-Signature".to_owned(), signature));
    }

    fn signature(&self, request: &Request, names: &[String], payload: &str) -> String {
        let mut pairs: Vec<_> = request
            .query
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name.as_bytes(), false), encode(value.as_bytes(), false)))
            .collect();
        pairs.sort();
        let mut canonical = format!("{}\n{}\n{}\n", request.method, request.path, pairs.join("&")).into_bytes();
        for name in names {
            let values: Vec<_> =
                request.headers.iter().filter(|(other, _)| other == name).map(|(_, value)| squeeze(value)).collect();
            canonical.extend([name.as_bytes(), b":", &values.join(&b","[..]), b"\n"].concat());
        }
        canonical.extend(format!("\n{}\n{payload}", names.join(";")).into_bytes());
        self.sign("AWS4-HMAC-SHA256", &sha256(&canonical))
    }
}

/// Leading and trailing blanks go, several within become one.
fn squeeze(value: &[u8]) -> Vec<u8> {
    let words = value.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(&b" "[..])
}

fn signed_names(request: &Request) -> Vec<String> {
    let mut names: Vec<_> = request
        .headers
        .iter()
        .map(|(name, _)| name.clone())
        .filter(|name| name == "host" || name == "content-md5" || name.starts_with("x-amz-"))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Percent-encodes all but unreserved bytes, and slashes unless they are kept.
pub fn encode(bytes: &[u8], keep_slash: bool) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || (keep_slash && byte == b'/');
    bytes.iter().map(|&byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
    // "Sun, 06 Nov 1994 08:49:37 GMT"
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = 1 + months.iter().position(|month| *month == &text[8..11]).expect("a month of httpdate's");
    format!("{}{month:02}{}T{}Z", &text[12..16], &text[5..7], text[17..25].replace(':', ""))
}

/// How a body is cut and vouched for.
pub struct Chunks<'a> {
    /// Bytes of each chunk.
    pub size: usize,
    /// Whether each chunk has a signature.
    pub signed: bool,
    /// A trailer's name and value.
    pub trailer: Option<(&'a str, &'a str)>,
}

impl Chunks<'_> {
    fn payload(&self) -> String {
        let kind = if self.signed { "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" } else { "STREAMING-UNSIGNED-PAYLOAD" };
        kind.to_owned() + if self.trailer.is_some() || !self.signed { "-TRAILER" } else { "" }
    }

    /// Frames and signs a request's body.
    pub fn apply(&self, request: &mut Request, signer: &Signer) {
        let length = request.body.len();
        self.apply_as(request, signer, length);
    }

    /// The same with another declared length.
    pub fn apply_as(&self, request: &mut Request, signer: &Signer, declared: usize) {
        let whole = std::mem::take(&mut request.body);
        request.set("content-encoding", "aws-chunked");
        request.set("x-amz-decoded-content-length", declared.to_string());
        request.set("x-amz-content-sha256", self.payload());
        if let Some((name, _)) = self.trailer {
            request.set("x-amz-trailer", name);
        }
        let mut previous = signer.header(request);
        let empty = sha256(b"");
        for chunk in whole.chunks(self.size).chain([&[][..]]) {
            let mut head = format!("{:x}", chunk.len());
            if self.signed {
                let rest = format!("{previous}\n{empty}\n{}", sha256(chunk));
                previous = signer.sign("AWS4-HMAC-SHA256-PAYLOAD", &rest);
                head += &format!(";chunk-signature={previous}");
            }
            request.body.extend([head.as_bytes(), b"\r\n", chunk].concat());
            if !chunk.is_empty() {
                request.body.extend(b"\r\n");
            }
        }
        if let Some((name, value)) = self.trailer {
            request.body.extend(format!("{name}:{value}\r\n").into_bytes());
            if self.signed {
                let rest = format!("{previous}\n{}", sha256(format!("{name}:{value}\n").as_bytes()));
                let signature = signer.sign("AWS4-HMAC-SHA256-TRAILER", &rest);
                request.body.extend(format!("x-amz-trailer-signature:{signature}\r\n").into_bytes());
            }
        }
        request.body.extend(b"\r\n");
    }
}
