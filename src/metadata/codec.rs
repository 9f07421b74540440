//! Lists inside a row: fixed-width little-endian integers and length-prefixed
//! bytes, each list led by a format number. Decoding is strict: a row that
//! does not fit is damage, and says so.

use std::collections::BTreeMap;

use super::MetadataError;

/// Appends values to a row's bytes.
pub struct Writer(Vec<u8>);

impl Writer {
    /// Starts with the list's format number.
    pub fn new(format: u8) -> Self {
        Self(vec![format])
    }

    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Bytes led by their length, at most 4 GiB of them.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32(u32::try_from(bytes.len()).expect("a row's field is far below 4 GiB")).raw(bytes)
    }

    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

/// Takes values off a row's bytes.
pub struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads a list that must have this format number.
    pub fn new(what: &'static str, bytes: &'a [u8], format: u8) -> Result<Self, MetadataError> {
        let mut reader = Self { what, rest: bytes };
        match reader.u8()? {
            found if found == format => Ok(reader),
            found => Err(MetadataError::Corrupt(format!("{what}: format {found} is unknown"))),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn take(&mut self, length: usize) -> Result<&'a [u8], MetadataError> {
        let (head, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| MetadataError::Corrupt(format!("{}: ends too early", self.what)))?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MetadataError> {
        Ok(self.take(N)?.try_into().expect("take gives exactly N bytes"))
    }

    pub fn u8(&mut self) -> Result<u8, MetadataError> {
        Ok(self.array::<1>()?[0])
    }

    pub fn u16(&mut self) -> Result<u16, MetadataError> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, MetadataError> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, MetadataError> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn id<const N: usize>(&mut self) -> Result<[u8; N], MetadataError> {
        self.array()
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], MetadataError> {
        let length = self.u32()? as usize;
        self.take(length)
    }
}

/// Headers of an object: names and raw values, in the order of arrival.
pub fn encode_headers(headers: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut row = Writer::new(1);
    for (name, value) in headers {
        row.bytes(name.as_bytes()).bytes(value);
    }
    row.finish()
}

/// The inverse of [`encode_headers`].
pub fn decode_headers(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, MetadataError> {
    let mut row = Reader::new("an object's headers", bytes, 1)?;
    let mut headers = Vec::new();
    while !row.is_empty() {
        let name = text(row.bytes()?)?;
        headers.push((name, row.bytes()?.to_vec()));
    }
    Ok(headers)
}

/// Labels: names and values, ascending by name.
pub fn encode_labels(labels: &BTreeMap<String, String>) -> Vec<u8> {
    let mut row = Writer::new(1);
    for (name, value) in labels {
        row.bytes(name.as_bytes()).bytes(value.as_bytes());
    }
    row.finish()
}

/// The inverse of [`encode_labels`].
pub fn decode_labels(bytes: &[u8]) -> Result<BTreeMap<String, String>, MetadataError> {
    let mut row = Reader::new("labels", bytes, 1)?;
    let mut labels = BTreeMap::new();
    while !row.is_empty() {
        let name = text(row.bytes()?)?;
        labels.insert(name, text(row.bytes()?)?);
    }
    Ok(labels)
}

/// Text that was stored as bytes.
pub fn text(bytes: &[u8]) -> Result<String, MetadataError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| MetadataError::Corrupt("text that is not UTF-8".into()))
}
