//! What an object carries besides its bytes, and what a write may demand.

/// Headers kept with an object and given back exactly: lower-case names of the
/// standard ones (`content-type`, `cache-control`, `content-disposition`,
/// `content-encoding`, `content-language`, `expires`,
/// `x-amz-website-redirect-location`, `x-amz-storage-class`) and
/// `x-amz-meta-*`, with their raw values, in the order of arrival.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectHeaders(pub Vec<(String, Vec<u8>)>);

impl ObjectHeaders {
    /// The first value of that (lower-case) name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
    }

    /// Whether a header of that (lower-case) name belongs to the place where an
    /// object is rather than to the object: a copy never takes it along.
    pub fn is_of_place(name: &str) -> bool {
        matches!(name, "x-amz-storage-class" | "x-amz-website-redirect-location")
    }

    /// The storage class that was declared.
    pub fn storage_class(&self) -> Option<String> {
        self.get("x-amz-storage-class").map(|class| String::from_utf8_lossy(class).into_owned())
    }
}

/// What must hold at the moment of a write. Decided in the commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WriteCondition {
    /// If-Match: the current object has one of these ETags (`*`: any object).
    pub if_match: Option<ETagMatch>,
    /// If-None-Match: no current object (`*`), or none with these ETags.
    pub if_none_match: Option<ETagMatch>,
}

/// A list of ETags in a condition, without quotes and without `W/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ETagMatch {
    /// `*`
    Any,
    /// One of these.
    OneOf(Vec<String>),
}

impl ETagMatch {
    /// Whether an object with this ETag is one of those that are meant.
    pub fn matches(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(tags) => tags.iter().any(|tag| tag == etag),
        }
    }
}
