//! Every limit, in one home. Formats depend on the first group: changing one
//! of those is a new format.

/// Plaintext bytes in a sealed block.
pub const BLOCK_BYTES: usize = 65_536;
/// Bytes of an AES-256-GCM tag.
pub const TAG_BYTES: usize = 16;
/// A sealed block: ciphertext and tag. A full share is exactly one of these.
pub const SEALED_BLOCK_BYTES: usize = BLOCK_BYTES + TAG_BYTES;
/// Bytes of the MAC that follows every share on its node.
pub const MAC_BYTES: usize = 16;
/// Stripes in one segment, at most; so a piece is about 2 MiB.
pub const STRIPES_MAX: usize = 32;
/// Pieces that a redundancy scheme may ask for, at most.
pub const PIECES_MAX: usize = 256;

/// Bytes in an object key (UTF-8), as S3 has it.
pub const KEY_BYTES_MAX: usize = 1024;
/// Spans in a body; a copy that would exceed it is rewritten as a new stream.
pub const SPANS_MAX: usize = 50_000;
/// Bytes of an object in a single PUT, or of one part: 5 GiB.
pub const PUT_BYTES_MAX: u64 = 5 << 30;
/// Bytes of an object: 10,000 parts of 5 GiB each.
pub const OBJECT_BYTES_MAX: u64 = 10_000 * PUT_BYTES_MAX;
/// Bytes of each part but the last of a multipart upload: 5 MiB.
pub const PART_BYTES_MIN: u64 = 5 << 20;
/// Number of a multipart upload's last possible part.
pub const PART_NUMBER_MAX: u32 = 10_000;
/// Bytes of user metadata: names and values together.
pub const USER_METADATA_BYTES_MAX: usize = 2048;
/// Keys in one list page or one multi-object delete.
pub const LIST_KEYS_MAX: u32 = 1000;
/// Buckets in one cluster.
pub const BUCKETS_MAX: u32 = 10_000;

/// Bytes of a piece on the wire: a segment's stripes, each share with its MAC.
pub const PIECE_BYTES_MAX: usize = STRIPES_MAX * (SEALED_BLOCK_BYTES + MAC_BYTES);
/// Bytes of a hello or of its answer, without their 8-byte frame header.
pub const HELLO_BYTES_MAX: usize = 64 << 10;
/// Wire versions that a hello may offer.
pub const WIRE_VERSIONS_MAX: usize = 16;
/// Labels of a node.
pub const LABELS_MAX: usize = 32;
/// Bytes of a label's name.
pub const LABEL_NAME_BYTES_MAX: usize = 63;
/// Bytes of a label's value, of a software version and of a refusal's kind.
pub const LABEL_VALUE_BYTES_MAX: usize = 255;
/// Bytes of a join token.
pub const TOKEN_BYTES_MAX: usize = 4096;
/// Door addresses that a welcome may name.
pub const DOORS_MAX: usize = 64;
/// Bytes of a door's address.
pub const DOOR_BYTES_MAX: usize = 261;
/// Bytes of a sentence in a refusal or an error.
pub const SENTENCE_BYTES_MAX: usize = 1024;
/// Piece ids in one request to trash, restore or purge.
pub const PIECE_LIST_MAX: usize = 10_000;
/// Pieces in one page of a node's inventory.
pub const INVENTORY_PAGE_MAX: usize = 10_000;
/// Bytes of a filter over a node's pieces.
pub const FILTER_BYTES_MAX: usize = 8 << 20;
/// Bytes of the filters that a node compares its pieces with.
pub const KNOWN_BYTES_MAX: usize = 2 * FILTER_BYTES_MAX + 4;
/// Connections that one request may ask a node to dial.
pub const DIAL_MAX: u8 = 64;
/// Bytes of a reply that is JSON: usage, errors, counts.
pub const JSON_REPLY_BYTES_MAX: usize = 16 << 10;

/// Bytes of a node's log file before it starts another.
pub const LOG_BYTES_MAX: u64 = 1 << 30;
