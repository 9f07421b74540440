//! What a door asks of a node, as HTTP request lines, fields and bodies.
//!
//! ```text
//! PUT  /v1/pieces/{id}                cairn-epoch: N, content-length; the piece      201
//! GET  /v1/pieces/{id}                range: bytes=first-last                        206
//! POST /v1/pieces/{trash|restore|purge}   ids, 16 bytes each, at most 10,000         200 {"changed":N}
//! GET  /v1/pieces?limit=N[&after={id}]    ascending by id; see `encode_inventory`    200
//! POST /v1/strays?limit=N&before=EPOCH[&after={id}]   `Known`; see `encode_inventory`   200
//! GET  /v1/damaged?limit=N[&after={id}]   ids, 16 bytes each, ascending                200
//! GET  /v1/usage                                                                     200 JSON
//! POST /v1/standing                       JSON, see `Standing`                       200 {"changed":0}
//! ```
//!
//! Any request may carry `cairn-dial: N`: the node then dials N more data
//! connections at once, before it even reads the body. Ids are 32 lower-case
//! hexadecimal digits. Anything else that fails is answered by an `ErrorBody`.

use std::ops::Range;

use super::WireError;
use crate::types::limits::{
    DIAL_MAX, INVENTORY_PAGE_MAX, JSON_REPLY_BYTES_MAX, KNOWN_BYTES_MAX, PIECE_BYTES_MAX, PIECE_LIST_MAX,
};
use crate::types::{Epoch, PieceId};

/// Names the epoch of a piece that is put.
pub const EPOCH_HEADER: &str = "cairn-epoch";
/// Asks the node to dial more connections.
pub const DIAL_HEADER: &str = "cairn-dial";
/// In the answer to a put: how far the node's logs are durable now.
pub const POSITION_HEADER: &str = "cairn-position";

/// A request without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Store a piece.
    Put {
        /// Which.
        id: PieceId,
        /// The upload epoch that it belongs to.
        epoch: Epoch,
        /// Bytes of the body.
        length: usize,
    },
    /// Read a range of a piece.
    Get {
        /// Which.
        id: PieceId,
        /// Which bytes; never empty.
        range: Range<u64>,
    },
    /// Move pieces to the trash, back, or out of it.
    List {
        /// Which of these.
        action: ListAction,
        /// Bytes of the body.
        length: usize,
    },
    /// What the node holds, a page at a time.
    Inventory {
        /// Begin after this piece.
        after: Option<PieceId>,
        /// At most so many (1 to 10,000).
        limit: usize,
    },
    /// Pieces that the node knows it has lost or that its disk changed, a page
    /// at a time.
    Damaged {
        /// Begin after this piece.
        after: Option<PieceId>,
        /// At most so many (1 to 10,000).
        limit: usize,
    },
    /// What the node holds that is not as the door knows it
    /// ([`Known`](super::Known) is the body), a page at a time.
    Strays {
        /// Begin after this piece.
        after: Option<PieceId>,
        /// At most so many (1 to 10,000).
        limit: usize,
        /// Pieces that nobody knows of, of this epoch or a later one, may
        /// still be on their way into the database.
        before: Epoch,
        /// Bytes of the body.
        length: usize,
    },
    /// Tell the node how it stands with the operator.
    Standing {
        /// Bytes of the body.
        length: usize,
    },
    /// Space on the node; also asked to see whether a connection is alive.
    Usage,
}

/// What to do with a list of pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListAction {
    /// Move to the trash, where they stay readable.
    Trash,
    /// Move back from the trash.
    Restore,
    /// Delete from the trash for good.
    Purge,
}

/// A request's header fields that mean something here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    /// `cairn-epoch`
    pub epoch: Option<&'a str>,
    /// `range`
    pub range: Option<&'a str>,
    /// `content-length`
    pub length: Option<&'a str>,
}

impl ListAction {
    const ALL: [Self; 3] = [Self::Trash, Self::Restore, Self::Purge];

    const fn name(self) -> &'static str {
        match self {
            Self::Trash => "trash",
            Self::Restore => "restore",
            Self::Purge => "purge",
        }
    }
}

impl Request {
    /// The HTTP method.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Put { .. } => "PUT",
            Self::List { .. } | Self::Strays { .. } | Self::Standing { .. } => "POST",
            Self::Get { .. } | Self::Inventory { .. } | Self::Damaged { .. } | Self::Usage => "GET",
        }
    }

    /// The request target: path and query.
    pub fn target(&self) -> String {
        match self {
            Self::Put { id, .. } | Self::Get { id, .. } => format!("/v1/pieces/{id}"),
            Self::List { action, .. } => format!("/v1/pieces/{}", action.name()),
            Self::Inventory { after, limit } => page_target("/v1/pieces", *after, *limit),
            Self::Damaged { after, limit } => page_target("/v1/damaged", *after, *limit),
            Self::Strays { after, limit, before, .. } => {
                page_target("/v1/strays", *after, *limit) + &format!("&before={before}")
            }
            Self::Standing { .. } => "/v1/standing".to_owned(),
            Self::Usage => "/v1/usage".to_owned(),
        }
    }

    /// The field that the request needs besides `content-length`, with its value.
    pub fn field(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Put { epoch, .. } => Some((EPOCH_HEADER, epoch.to_string())),
            Self::Get { range, .. } => Some(("range", format!("bytes={}-{}", range.start, range.end - 1))),
            _ => None,
        }
    }

    /// Reads a request from its line and fields, and checks every limit.
    pub fn decode(method: &str, target: &str, fields: Fields<'_>) -> Result<Self, WireError> {
        let unknown = || WireError::Unknown(format!("{method} {}", super::text::clipped(target, 80)));
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let name = path.strip_prefix("/v1/pieces/");
        match (method, path, name, query) {
            ("GET", "/v1/usage", _, None) => Ok(Self::Usage),
            ("GET", "/v1/pieces", _, Some(query)) => {
                Page::of(query, false).map(|Page { after, limit, .. }| Self::Inventory { after, limit })
            }
            ("GET", "/v1/damaged", _, Some(query)) => {
                Page::of(query, false).map(|Page { after, limit, .. }| Self::Damaged { after, limit })
            }
            ("POST", "/v1/strays", _, Some(query)) => {
                let Page { after, limit, before } = Page::of(query, true)?;
                Ok(Self::Strays { after, limit, before, length: length(fields.length, KNOWN_BYTES_MAX)? })
            }
            ("POST", "/v1/standing", _, None) => {
                Ok(Self::Standing { length: length(fields.length, JSON_REPLY_BYTES_MAX)? })
            }
            ("PUT", _, Some(name), None) => put(name, fields),
            ("GET", _, Some(name), None) => Ok(Self::Get { id: piece(name)?, range: range(fields.range)? }),
            ("POST", _, Some(name), None) => {
                let action = ListAction::ALL.into_iter().find(|action| action.name() == name).ok_or_else(unknown)?;
                let length = length(fields.length, PIECE_LIST_MAX * PieceId::BYTES)?;
                Ok(Self::List { action, length })
            }
            _ => Err(unknown()),
        }
    }
}

fn put(name: &str, fields: Fields<'_>) -> Result<Request, WireError> {
    let epoch = fields.epoch.and_then(number).ok_or_else(|| WireError::malformed("request", "no valid cairn-epoch"))?;
    Ok(Request::Put { id: piece(name)?, epoch: Epoch(epoch), length: length(fields.length, PIECE_BYTES_MAX)? })
}

fn page_target(path: &str, after: Option<PieceId>, limit: usize) -> String {
    match after {
        Some(id) => format!("{path}?limit={limit}&after={id}"),
        None => format!("{path}?limit={limit}"),
    }
}

/// Where a page begins, how long it may be, and which pieces are left out of it.
struct Page {
    after: Option<PieceId>,
    limit: usize,
    before: Epoch,
}

impl Page {
    /// Reads a query; an epoch is in it where it has to be, and nowhere else.
    fn of(query: &str, has_epoch: bool) -> Result<Self, WireError> {
        let (mut after, mut limit, mut before) = (None, None, (!has_epoch).then_some(0));
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some(("after", value)) if after.is_none() => after = Some(piece(value)?),
                Some(("limit", value)) if limit.is_none() => limit = number(value),
                Some(("before", value)) if before.is_none() => before = number(value),
                _ => return Err(WireError::malformed("request", "an unknown or repeated query parameter")),
            }
        }
        match (limit, before) {
            (Some(limit @ 1..), Some(before)) if limit <= INVENTORY_PAGE_MAX as u64 => {
                Ok(Self { after, limit: limit as usize, before: Epoch(before) })
            }
            (_, None) => Err(WireError::malformed("request", "before must be an epoch")),
            _ => Err(WireError::malformed("request", format!("limit must be 1 to {INVENTORY_PAGE_MAX}"))),
        }
    }
}

fn piece(text: &str) -> Result<PieceId, WireError> {
    text.parse().map_err(|error| WireError::malformed("piece id", error))
}

fn length(text: Option<&str>, max: usize) -> Result<usize, WireError> {
    let length = text.and_then(number).ok_or_else(|| WireError::malformed("request", "no valid content-length"))?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    WireError::limit("body", length, max)?;
    Ok(length)
}

fn range(text: Option<&str>) -> Result<Range<u64>, WireError> {
    let bounds = text.and_then(|text| text.strip_prefix("bytes=")?.split_once('-'));
    let bounds = bounds.and_then(|(first, last)| Some((number(first)?, number(last)?.checked_add(1)?)));
    match bounds {
        Some((first, end)) if first < end => Ok(first..end),
        _ => Err(WireError::malformed("request", "no valid range: bytes=first-last is needed")),
    }
}

/// Decimal digits only: `u64::from_str` would also take a plus sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// How many connections a `cairn-dial` field asks for (1 to 64).
pub fn decode_dial(text: &str) -> Result<u8, WireError> {
    number(text)
        .filter(|&count| (1..=u64::from(DIAL_MAX)).contains(&count))
        .map(|count| count as u8)
        .ok_or_else(|| WireError::malformed("request", format!("cairn-dial must be 1 to {DIAL_MAX}")))
}

/// The body of a request that names pieces: 16 bytes each, nothing else.
pub fn encode_ids(ids: &[PieceId]) -> Vec<u8> {
    ids.iter().flat_map(|id| *id.as_bytes()).collect()
}

/// Reads such a body (0 to 10,000 ids).
pub fn decode_ids(body: &[u8]) -> Result<Vec<PieceId>, WireError> {
    let (ids, rest) = body.as_chunks::<{ PieceId::BYTES }>();
    if !rest.is_empty() {
        return Err(WireError::malformed("list of pieces", "the last id is cut"));
    }
    WireError::limit("list of pieces", ids.len(), PIECE_LIST_MAX)?;
    Ok(ids.iter().copied().map(PieceId::from_bytes).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: PieceId = PieceId::from_bytes(*b"0123456789abcdef");

    fn again(request: &Request, length: Option<&str>) -> Result<Request, WireError> {
        let field = request.field();
        let named = |name| field.as_ref().filter(|field| field.0 == name).map(|field| field.1.as_str());
        let fields = Fields { epoch: named(EPOCH_HEADER), range: named("range"), length };
        Request::decode(request.method(), &request.target(), fields)
    }

    #[test]
    fn requests_survive_their_encoding() {
        for request in [
            Request::Put { id: ID, epoch: Epoch(u64::MAX), length: 5 },
            Request::Get { id: ID, range: 0..1 },
            Request::Get { id: ID, range: 65_568..131_136 },
            Request::List { action: ListAction::Trash, length: 5 },
            Request::List { action: ListAction::Restore, length: 5 },
            Request::List { action: ListAction::Purge, length: 5 },
            Request::Inventory { after: None, limit: 1 },
            Request::Inventory { after: Some(ID), limit: INVENTORY_PAGE_MAX },
            Request::Damaged { after: None, limit: 7 },
            Request::Damaged { after: Some(ID), limit: 7 },
            Request::Standing { length: 5 },
            Request::Strays { after: None, limit: 7, before: Epoch(3), length: 5 },
            Request::Strays { after: Some(ID), limit: 7, before: Epoch(u64::MAX), length: 5 },
            Request::Usage,
        ] {
            assert_eq!(again(&request, Some("5")), Ok(request));
        }
    }

    #[test]
    fn limits_hold() {
        let put = Request::Put { id: ID, epoch: Epoch(1), length: 0 };
        let most = PIECE_BYTES_MAX.to_string();
        let more = (PIECE_BYTES_MAX + 1).to_string();
        assert!(again(&put, Some(&most)).is_ok());
        for length in [Some(more.as_str()), Some("99999999999999999999"), Some("-1"), Some("+1"), Some(""), None] {
            assert!(again(&put, length).is_err(), "{length:?}");
        }
        assert!(again(&Request::Inventory { after: None, limit: INVENTORY_PAGE_MAX + 1 }, None).is_err());
        assert!(again(&Request::Inventory { after: None, limit: 0 }, None).is_err());
    }

    #[test]
    fn malformed_requests_are_refused() {
        let fields = Fields { epoch: Some("1"), range: Some("bytes=0-1"), length: Some("1") };
        for (method, target) in [
            ("DELETE", "/v1/usage"),
            ("GET", "/v2/usage"),
            ("GET", "/v1/usage?x"),
            ("PUT", "/v1/pieces/00"),
            ("PUT", "/v1/pieces/30313233343536373839616263646566?x=1"),
            ("PUT", "/v1/pieces/3031323334353637383961626364656G"),
            ("POST", "/v1/pieces/shred"),
            ("GET", "/v1/pieces"),
            ("GET", "/v1/pieces?"),
            ("GET", "/v1/pieces?limit=1&limit=2"),
            ("GET", "/v1/pieces?limit=1&after=zz"),
            ("POST", "/v1/strays?limit=1"),
            ("POST", "/v1/strays?before=1"),
            ("POST", "/v1/strays?limit=1&before=1&before=1"),
            ("GET", "/v1/pieces?limit=1&before=1"),
            ("GET", "/../v1/usage"),
            ("", ""),
        ] {
            assert!(Request::decode(method, target, fields).is_err(), "{method} {target}");
        }
        for range in ["bytes=1-0", "bytes=0-", "bytes=-1", "bytes=0-1,3-4", "bytes=0-18446744073709551615", "0-1", ""] {
            let fields = Fields { range: Some(range), ..fields };
            assert!(Request::decode("GET", &format!("/v1/pieces/{ID}"), fields).is_err(), "{range}");
        }
    }

    #[test]
    fn dialling_is_bounded() {
        assert_eq!(decode_dial("1"), Ok(1));
        assert_eq!(decode_dial("64"), Ok(64));
        for bad in ["", "0", "65", "-1", "1 "] {
            assert!(decode_dial(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_of_ids_are_whole_and_bounded() {
        let ids = vec![ID; PIECE_LIST_MAX];
        let body = encode_ids(&ids);
        assert_eq!(decode_ids(&body), Ok(ids));
        assert!(decode_ids(&body[1..]).is_err());
        assert!(decode_ids(&[body, vec![0; 16]].concat()).is_err());
        assert_eq!(decode_ids(&[]), Ok(Vec::new()));
    }
}
