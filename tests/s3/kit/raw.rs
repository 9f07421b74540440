//! HTTP/1.1 by hand: a request goes out byte for byte as it was made.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::sign::{Chunks, Signer, encode};
use super::{Site, xml};

/// A request, signed when it is sent unless it was signed before.
#[derive(Clone)]
pub struct Request {
    pub method: String,
    /// Encoded, without the query.
    pub path: String,
    /// Not encoded.
    pub query: Vec<(String, String)>,
    /// Lower-case names.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    pub signer: Signer,
    authority: String,
}

/// An answer, whole.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(site: &Site, method: &str, path: &str) -> Self {
        let authority = site.access().authority().to_owned();
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: Vec::new(),
            headers: vec![("host".to_owned(), authority.clone().into_bytes())],
            body: Vec::new(),
            signer: Signer::new(site.access()),
            authority,
        }
    }

    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets a header to this value alone.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.remove(name);
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
    }

    pub fn remove(&mut self, name: &str) {
        self.headers.retain(|(other, _)| other != name);
    }

    pub fn find(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_slice())
    }

    /// Signs in the header, now; what is changed afterwards is not signed.
    pub fn sign(mut self) -> Self {
        self.signer.clone().header(&mut self);
        self
    }

    /// Signs in the query.
    pub fn presign(mut self, expires: u64) -> Self {
        self.signer.clone().query(&mut self, expires);
        self
    }

    /// Frames the body and signs.
    pub fn chunk(mut self, chunks: &Chunks<'_>) -> Self {
        let signer = self.signer.clone();
        chunks.apply(&mut self, &signer);
        self
    }

    /// The same for a body that is declared to have another length.
    pub fn chunk_as(&mut self, chunks: &Chunks<'_>, declared: usize) {
        let signer = self.signer.clone();
        chunks.apply_as(self, &signer, declared);
    }

    fn is_signed(&self) -> bool {
        self.find("authorization").is_some() || self.query.iter().any(|(name, _)| name == "X-Amz-Signature")
    }

    /// Sends it and reads the answer.
    pub async fn send(self) -> Answer {
        let request = if self.is_signed() { self } else { self.sign() };
        let length = request.body.len();
        request.send_part(length).await.unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// Sends it without a signature.
    pub async fn send_unsigned(self) -> Answer {
        let length = self.body.len();
        self.send_part(length).await.unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// The same where the connection may end without an answer.
    pub async fn send_answer(self, length: usize) -> std::io::Result<Answer> {
        let mut stream = self.begin(length).await?;
        stream.shutdown().await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        if bytes.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Answer::parse(&bytes, self.method == "HEAD"))
    }

    /// Sends the head and `length` bytes of the body, closes the sending half
    /// if more should follow, and reads what comes back.
    pub async fn send_part(self, length: usize) -> std::io::Result<Answer> {
        let mut stream = self.begin(length).await?;
        if length < self.body.len() {
            stream.shutdown().await?;
        }
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        Ok(Answer::parse(&bytes, self.method == "HEAD"))
    }

    /// Sends the head and `length` bytes of the body; dropping the stream cuts
    /// the connection.
    pub async fn begin(&self, length: usize) -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect(&self.authority).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&self.head()).await?;
        // A refusal may close the connection while the body is on its way.
        let _ = stream.write_all(&self.body[..length]).await;
        Ok(stream)
    }

    /// The request line and the headers.
    fn head(&self) -> Vec<u8> {
        let pairs: Vec<_> = self
            .query
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name.as_bytes(), false), encode(value.as_bytes(), false)))
            .collect();
        let mark = if pairs.is_empty() { "" } else { "?" };
        let mut head = format!("{} {}{mark}{} HTTP/1.1\r\n", self.method, self.path, pairs.join("&")).into_bytes();
        for (name, value) in &self.headers {
            head.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        let has_length = self.find("content-length").is_some() || self.find("transfer-encoding").is_some();
        if !has_length && (!self.body.is_empty() || self.method == "PUT" || self.method == "POST") {
            head.extend(format!("content-length: {}\r\n", self.body.len()).into_bytes());
        }
        head.extend(b"connection: close\r\n\r\n");
        head
    }
}

impl Answer {
    fn parse(bytes: &[u8], is_head: bool) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Self { status: status.expect("a status line"), headers, body: bytes[end + 4..].to_vec() };
        if answer.status == 100 {
            let rest = answer.body;
            return Self::parse(&rest, is_head);
        }
        if answer.header("transfer-encoding") == "chunked" {
            answer.body = unchunk(&answer.body);
        }
        let declared = answer.header("content-length").parse::<usize>().ok();
        if let Some(declared) = declared.filter(|_| !is_head) {
            assert_eq!(answer.body.len(), declared, "the reply broke off: {answer:?}");
        }
        answer
    }

    /// The first header of that name; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value)
    }

    pub fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(other, _)| other == name)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }

    /// The error's code; empty for what is no error.
    pub fn code(&self) -> String {
        if self.status < 300 && !self.text_or_empty().contains("<Error>") {
            return String::new();
        }
        xml::one(&self.text_or_empty(), "Code")
    }

    fn text_or_empty(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap_or_default()
    }

    /// The text of the first element of that name.
    pub fn xml(&self, name: &str) -> String {
        xml::one(&self.text(), name)
    }

    /// The text of all elements of that name.
    pub fn all(&self, name: &str) -> Vec<String> {
        xml::all(&self.text(), name)
    }

    /// Panics unless the request was refused with that status and code, in a
    /// document that says why.
    #[track_caller]
    pub fn expect_error(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{self:?}");
        assert!(!self.xml("Message").is_empty(), "no message: {self:?}");
        assert_eq!(self.xml("RequestId"), self.header("x-amz-request-id"), "{self:?}");
    }

    /// Panics unless the request was carried out with that status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.body[..self.body.len().min(2000)];
        write!(f, "{} {:?} {}", self.status, self.headers, String::from_utf8_lossy(shown))
    }
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n").expect("a chunk's size");
        let size = std::str::from_utf8(&bytes[..end]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let size = size.expect("a chunk's size in hexadecimal");
        if size == 0 {
            return whole;
        }
        whole.extend(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 2 + size + 2..];
    }
}
