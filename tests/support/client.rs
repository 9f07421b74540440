//! A small S3 client that streams: bodies are made and looked at as they move,
//! so that it needs no memory for them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;

use super::cairn::Access;
use super::data::{hex, sha256};

/// A read or write that does not move for so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const BUFFER_BYTES: usize = 256 << 10;

/// What a request carries.
pub enum Body<'a> {
    /// Nothing.
    None,
    /// These bytes.
    Bytes(&'a [u8]),
    /// So many bytes, made as they are sent.
    Made(u64, &'a mut dyn FnMut(&mut [u8])),
    /// These bytes: 4 KiB every half a second for so long, then the rest.
    Trickled(&'a [u8], Duration),
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Empty where a sink took it.
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn etag(&self) -> String {
        self.header("etag").trim_matches('"').to_owned()
    }

    /// Panics unless the request succeeded.
    pub fn ok(self, what: &str) -> Self {
        assert!((200..300).contains(&self.status), "{what}: {} {}", self.status, self.text());
        self
    }
}

/// One request.
pub struct Call<'a> {
    method: &'a str,
    path: &'a str,
    query: Vec<(&'a str, String)>,
    headers: Vec<(&'a str, String)>,
    body: Body<'a>,
}

impl<'a> Call<'a> {
    /// `path` is bucket and key, of characters that need no escape.
    pub fn new(method: &'a str, path: &'a str) -> Self {
        Self { method, path, query: Vec::new(), headers: Vec::new(), body: Body::None }
    }

    pub fn query(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub fn header(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn body(mut self, body: Body<'a>) -> Self {
        self.body = body;
        self
    }
}

/// Speaks to one endpoint. Every request has a connection of its own.
#[derive(Clone)]
pub struct Client {
    access: Access,
    /// How far its clock is ahead of the machine's.
    ahead: Duration,
}

impl Client {
    pub fn new(access: &Access) -> Self {
        Self { access: access.clone(), ahead: Duration::ZERO }
    }

    /// The same with a clock that is ahead.
    pub fn ahead(mut self, ahead: Duration) -> Self {
        self.ahead = ahead;
        self
    }

    /// Sends a request and keeps the answer's body.
    pub fn send(&self, call: Call<'_>) -> io::Result<Reply> {
        let mut kept = Vec::new();
        let mut reply = self.stream(call, &mut |bytes| kept.extend_from_slice(bytes))?;
        if reply.status < 300 {
            reply.body = kept;
        }
        Ok(reply)
    }

    /// Sends a request and hands the answer's body on as it comes. Fails when
    /// it ends early.
    pub fn stream(&self, call: Call<'_>, sink: &mut dyn FnMut(&[u8])) -> io::Result<Reply> {
        let mut socket = TcpStream::connect(self.access.authority())?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let method = call.method.to_owned();
        socket.write_all(self.head(&call).as_bytes())?;
        // A server that refuses early is heard, although the body is not sent.
        let sent = write_body(&mut socket, call.body);
        match (read_reply(&mut BufReader::with_capacity(BUFFER_BYTES, socket), &method, sink), sent) {
            (Ok(reply), Ok(())) => Ok(reply),
            (Ok(reply), Err(_)) if reply.status >= 300 => Ok(reply),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    pub fn get(&self, path: &str) -> io::Result<Reply> {
        self.send(Call::new("GET", path))
    }

    pub fn put(&self, path: &str, body: &[u8]) -> io::Result<Reply> {
        self.send(Call::new("PUT", path).body(Body::Bytes(body)))
    }

    pub fn delete(&self, path: &str) -> io::Result<Reply> {
        self.send(Call::new("DELETE", path))
    }

    /// Every object below a prefix: key, ETag, size. Asks for all pages.
    pub fn list(&self, bucket: &str, prefix: &str) -> io::Result<BTreeMap<String, (String, u64)>> {
        let mut found = BTreeMap::new();
        let mut after = String::new();
        loop {
            let call = Call::new("GET", bucket).query("list-type", "2").query("prefix", prefix);
            let page = self.send(call.query("start-after", after.clone()))?.ok("list").text();
            for entry in page.split("<Contents>").skip(1) {
                let size_bytes = between(entry, "<Size>", "</Size>").parse().expect("a size is a number");
                let etag = between(entry, "<ETag>", "</ETag>").replace("&quot;", "").replace('"', "");
                after = between(entry, "<Key>", "</Key>").to_owned();
                found.insert(after.clone(), (etag, size_bytes));
            }
            if between(&page, "<IsTruncated>", "</IsTruncated>") != "true" {
                return Ok(found);
            }
        }
    }

    fn head(&self, call: &Call<'_>) -> String {
        let mut query: Vec<(String, String)> =
            call.query.iter().map(|(name, value)| (escape(name), escape(value))).collect();
        query.sort();
        let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let query = query.join("&");
        let stamp = stamp(SystemTime::now() + self.ahead);
        let mut headers: BTreeMap<String, String> =
            call.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        headers.insert("host".into(), self.access.authority().into());
        headers.insert("x-amz-content-sha256".into(), "UNSIGNED-PAYLOAD".into());
        headers.insert("x-amz-date".into(), stamp.clone());
        let authorization = self.authorization(call, &query, &headers, &stamp);
        let length = match &call.body {
            Body::None => 0,
            Body::Bytes(bytes) | Body::Trickled(bytes, _) => bytes.len() as u64,
            Body::Made(length, _) => *length,
        };
        let mark = if query.is_empty() { "" } else { "?" };
        let mut head = format!("{} {}{mark}{query} HTTP/1.1\r\n", call.method, call.path);
        headers.iter().for_each(|(name, value)| {
            let _ = write!(head, "{name}: {value}\r\n");
        });
        if matches!(call.method, "PUT" | "POST") {
            let _ = write!(head, "content-length: {length}\r\n");
        }
        head + &format!("authorization: {authorization}\r\nconnection: close\r\n\r\n")
    }

    fn authorization(&self, call: &Call<'_>, query: &str, headers: &BTreeMap<String, String>, stamp: &str) -> String {
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let names = headers.keys().cloned().collect::<Vec<_>>().join(";");
        let canonical = format!("{}\n{}\n{query}\n{lines}\n{names}\nUNSIGNED-PAYLOAD", call.method, call.path);
        let (day, region) = (&stamp[..8], &self.access.region);
        let scope = format!("{day}/{region}/s3/aws4_request");
        let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", sha256(canonical.as_bytes()));
        let mut key = format!("AWS4{}", self.access.secret).into_bytes();
        for step in [day, region, "s3", "aws4_request", &text] {
            let signed = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), step.as_bytes());
            key = signed.as_ref().to_vec();
        }
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}",
            self.access.key,
            hex(&key)
        )
    }
}

fn write_body(socket: &mut TcpStream, body: Body<'_>) -> io::Result<()> {
    match body {
        Body::None => Ok(()),
        Body::Bytes(bytes) => socket.write_all(bytes),
        Body::Trickled(mut bytes, time) => {
            let begun = Instant::now();
            while begun.elapsed() < time && !bytes.is_empty() {
                let (now, later) = bytes.split_at(bytes.len().min(4096));
                socket.write_all(now)?;
                bytes = later;
                std::thread::sleep(Duration::from_millis(500));
            }
            socket.write_all(bytes)
        }
        Body::Made(length, make) => {
            let mut buffer = vec![0; BUFFER_BYTES];
            let mut left = length;
            while left > 0 {
                let take = left.min(BUFFER_BYTES as u64) as usize;
                make(&mut buffer[..take]);
                socket.write_all(&buffer[..take])?;
                left -= take as u64;
            }
            Ok(())
        }
    }
}

fn read_reply(from: &mut impl BufRead, method: &str, sink: &mut dyn FnMut(&[u8])) -> io::Result<Reply> {
    let mut reply = read_head(from)?;
    while reply.status == 100 {
        reply = read_head(from)?;
    }
    let length = reply.headers.get("content-length").and_then(|length| length.parse::<u64>().ok());
    let chunked = reply.header("transfer-encoding") == "chunked";
    let mut kept = Vec::new();
    // What is no content is kept for whoever asks what went wrong.
    let mut keep = |bytes: &[u8]| kept.extend_from_slice(bytes);
    let sink: &mut dyn FnMut(&[u8]) = if reply.status < 300 { sink } else { &mut keep };
    match length {
        _ if method == "HEAD" || reply.status == 204 || reply.status == 304 => {}
        Some(length) => pass(from, length, sink)?,
        None if chunked => loop {
            let size = line(from)?;
            let size = u64::from_str_radix(&size, 16).map_err(|_| io::Error::other("a bad chunk size"))?;
            pass(from, size, sink)?;
            line(from)?;
            if size == 0 {
                break;
            }
        },
        None => return Err(io::Error::other("an answer without a length")),
    }
    reply.body = kept;
    Ok(reply)
}

fn read_head(from: &mut impl BufRead) -> io::Result<Reply> {
    let first = line(from)?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "no answer"))?;
    let mut headers = BTreeMap::new();
    loop {
        let text = line(from)?;
        let Some((name, value)) = text.split_once(':') else {
            return Ok(Reply { status, headers, body: Vec::new() });
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
}

fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    if from.read_line(&mut text)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(text.trim_end().to_owned())
}

fn pass(from: &mut impl BufRead, length: u64, sink: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let mut from = from.take(length);
    let mut passed = 0;
    loop {
        let bytes = from.fill_buf()?;
        if bytes.is_empty() {
            break;
        }
        sink(bytes);
        let count = bytes.len();
        passed += count as u64;
        from.consume(count);
    }
    if passed == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// What stands between two marks; empty where they are missing.
pub fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let rest = text.split_once(start).map_or("", |(_, rest)| rest);
    rest.split_once(end).map_or("", |(found, _)| found)
}

fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        let _ = match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => write!(escaped, "{}", byte as char),
            _ => write!(escaped, "%{byte:02X}"),
        };
        escaped
    })
}

/// `20260131T235959Z`.
fn stamp(now: SystemTime) -> String {
    let date = httpdate::fmt_http_date(now);
    // Sat, 31 Jan 2026 23:59:59 GMT
    let words: Vec<&str> = date.split([' ', ':']).collect();
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|name| *name == words[2]).expect("a month") + 1;
    assert!(now > UNIX_EPOCH, "the machine's clock is set");
    format!("{}{month:02}{}T{}{}{}Z", words[3], words[1], words[4], words[5], words[6])
}
