//! The tables, as numbered migrations that only go forward.
//!
//! Ids are random bytes, keys and names are bytes (never collated), lists
//! inside a row are laid out by `codec`. Rows that could not be made to carry
//! these later carry them from the start: format numbers (in each list),
//! key versions, epochs, incarnations, revisions, the segment's root, the
//! generation.
//!
//! The numbers are the same on all engines, and so is the text, but for its
//! types (`dialect`). **A migration may only add** from the third on: tables,
//! columns that may be NULL or have a default, indexes. Gateways of the
//! version before go on beside newer ones until the last is gone, and what
//! they write must be right for both; what nobody uses any more goes a version
//! later.

/// A step of the schema.
pub struct Migration {
    /// What every engine gets.
    pub both: &'static str,
    /// What PostgreSQL gets besides, and what speaks its protocol.
    pub postgres: &'static str,
    /// What PostgreSQL alone gets, whose rows lie in the order in which they
    /// were written and not in that of their key.
    pub heap: &'static str,
}

const NOTHING: Migration = Migration { both: "", postgres: "", heap: "" };

/// Migrations in order: the first makes schema version 1.
pub const MIGRATIONS: &[Migration] = &[
    Migration { both: V1, ..NOTHING },
    Migration { both: V2, ..NOTHING },
    Migration { postgres: V3_POSTGRES, ..NOTHING },
    Migration { both: V4, ..NOTHING },
    Migration { both: V5, ..NOTHING },
    Migration { heap: V6_HEAP, ..NOTHING },
    Migration { both: V7, ..NOTHING },
];

const V1: &str = "
CREATE TABLE cluster (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    cluster_id BLOB NOT NULL,
    generation INTEGER NOT NULL,
    key_version INTEGER NOT NULL,
    created_ms INTEGER NOT NULL
);

CREATE TABLE counters (
    name BLOB PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE leases (
    holder BLOB PRIMARY KEY,
    oldest_epoch INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE nodes (
    node_no INTEGER PRIMARY KEY,
    node_id BLOB NOT NULL UNIQUE,
    state INTEGER NOT NULL,
    place BLOB,
    owner BLOB,
    labels BLOB NOT NULL,
    joined_ms INTEGER NOT NULL,
    last_instance BLOB,
    start_counter INTEGER NOT NULL,
    log_position INTEGER NOT NULL
);

CREATE TABLE buckets (
    bucket_no INTEGER PRIMARY KEY,
    name BLOB NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL
);

-- The current version of each key. What a list needs stands before what it
-- does not, so that a list never touches the rest.
CREATE TABLE objects (
    bucket_no INTEGER NOT NULL,
    key BLOB NOT NULL,
    size_bytes INTEGER NOT NULL,
    modified_ms INTEGER NOT NULL,
    etag BLOB NOT NULL,
    checksum BLOB,
    storage_class BLOB,
    sequence INTEGER NOT NULL,
    version_id BLOB,
    body_id BLOB,
    upload_id BLOB,
    part_count INTEGER,
    headers BLOB NOT NULL,
    inline BLOB,
    PRIMARY KEY (bucket_no, key)
) WITHOUT ROWID;

CREATE TABLE bodies (
    body_id BLOB PRIMARY KEY,
    refs INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    spans BLOB NOT NULL,
    parts BLOB
) WITHOUT ROWID;

CREATE TABLE streams (
    stream_id BLOB PRIMARY KEY,
    refs INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    format INTEGER NOT NULL,
    key_version INTEGER NOT NULL,
    wrapped_key BLOB NOT NULL,
    md5 BLOB NOT NULL,
    checksum BLOB,
    revision INTEGER NOT NULL,
    extents BLOB,
    inline BLOB
) WITHOUT ROWID;

CREATE TABLE segments (
    segment_id BLOB PRIMARY KEY,
    layout BLOB NOT NULL,
    mac_key BLOB NOT NULL,
    root BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    streams INTEGER NOT NULL,
    live_bytes INTEGER NOT NULL,
    pieces BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE uploads (
    bucket_no INTEGER NOT NULL,
    key BLOB NOT NULL,
    upload_id BLOB NOT NULL,
    initiated_ms INTEGER NOT NULL,
    checksum INTEGER,
    storage_class BLOB,
    headers BLOB NOT NULL,
    PRIMARY KEY (bucket_no, key, upload_id)
) WITHOUT ROWID;

CREATE TABLE parts (
    upload_id BLOB NOT NULL,
    number INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    modified_ms INTEGER NOT NULL,
    etag BLOB NOT NULL,
    checksum BLOB,
    spans BLOB NOT NULL,
    PRIMARY KEY (upload_id, number)
) WITHOUT ROWID;

-- Spans that nothing refers to any more, until a worker has given their
-- streams back.
CREATE TABLE garbage (
    garbage_no INTEGER PRIMARY KEY,
    left_ms INTEGER NOT NULL,
    spans BLOB NOT NULL
);

-- Pieces that nothing refers to any more: on their way to their node's trash
-- (trashed_ms is NULL), or in it.
CREATE TABLE condemned (
    node_no INTEGER NOT NULL,
    segment_id BLOB NOT NULL,
    piece INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    trashed_ms INTEGER,
    PRIMARY KEY (node_no, segment_id, piece, incarnation)
) WITHOUT ROWID;
CREATE INDEX condemned_by_time ON condemned (trashed_ms);

INSERT INTO counters (name, value) VALUES
    (CAST('epoch' AS BLOB), 0),
    (CAST('sequence' AS BLOB), 0),
    (CAST('bucket' AS BLOB), 0),
    (CAST('node' AS BLOB), 0),
    (CAST('garbage' AS BLOB), 0);
";

/// Volunteers: tokens, what nodes say of themselves, doors, damage; and a
/// number that no placing of a segment's pieces has had before.
const V2: &str = "
ALTER TABLE nodes DROP COLUMN owner;
ALTER TABLE nodes ADD COLUMN said BLOB;
ALTER TABLE nodes ADD COLUMN address BLOB;
ALTER TABLE nodes ADD COLUMN software BLOB;
ALTER TABLE nodes ADD COLUMN space BLOB;
ALTER TABLE nodes ADD COLUMN seen_ms INTEGER;
ALTER TABLE nodes ADD COLUMN reason BLOB;
ALTER TABLE nodes ADD COLUMN drain_epoch INTEGER;
ALTER TABLE nodes ADD COLUMN wrong_shares INTEGER NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN rollbacks INTEGER NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN compared INTEGER NOT NULL DEFAULT 0;

ALTER TABLE segments ADD COLUMN incarnation INTEGER NOT NULL DEFAULT 1;

-- Join tokens. Of the secret only a digest is kept.
CREATE TABLE tokens (
    token_id BLOB PRIMARY KEY,
    secret_digest BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    revoked_ms INTEGER,
    uses INTEGER,
    used INTEGER NOT NULL,
    labels BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE redemptions (
    token_id BLOB NOT NULL,
    node_id BLOB NOT NULL,
    redeemed_ms INTEGER NOT NULL,
    PRIMARY KEY (token_id, node_id)
) WITHOUT ROWID;

-- Where nodes can dial, by the process that holds each door open.
CREATE TABLE doors (
    holder BLOB PRIMARY KEY,
    addresses BLOB NOT NULL,
    seen_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- Pieces that their node says its disk has lost or changed.
CREATE TABLE damaged (
    node_no INTEGER NOT NULL,
    piece_id BLOB NOT NULL,
    PRIMARY KEY (node_no, piece_id)
) WITHOUT ROWID;
";

/// Numbers that writers draw without waiting for each other, and the keys of
/// commits whose outcome somebody may ask for (`postgres/commits.rs`). A key's
/// row stands among those of its time, so that old ones are found in a range.
const V3_POSTGRES: &str = "
CREATE SEQUENCE object_sequence;
CREATE SEQUENCE garbage_sequence;

CREATE TABLE commits (
    made_ms INTEGER NOT NULL,
    commit_key BLOB NOT NULL,
    committed INTEGER NOT NULL,
    PRIMARY KEY (made_ms, commit_key)
);
";

/// Many gateways: who does what only one may do, the segments that wait for
/// repair, and whether this database is the one in use.
const V4: &str = "
-- Tasks that one process at a time does, and until when on the database's
-- clock it is that one's.
CREATE TABLE tasks (
    name BLOB PRIMARY KEY,
    holder BLOB NOT NULL,
    expires_ms INTEGER NOT NULL,
    state BLOB
) WITHOUT ROWID;

-- Segments that wait for repair, those nearest to loss first.
CREATE TABLE repairs (
    segment_id BLOB PRIMARY KEY,
    hopeless INTEGER NOT NULL,
    margin INTEGER NOT NULL,
    need INTEGER NOT NULL,
    -- Pieces that are known to be lost or changed, laid out as a list is.
    lost BLOB,
    -- Who could not repair it since it was put in, one after the other.
    tried BLOB,
    holder BLOB,
    taken_until_ms INTEGER
) WITHOUT ROWID;
CREATE INDEX repairs_by_rank ON repairs (hopeless, margin, need);

INSERT INTO counters (name, value) VALUES
    (CAST('repaired' AS BLOB), 0),
    (CAST('moved' AS BLOB), 0),
    (CAST('repairs failed' AS BLOB), 0);

-- What one gateway has heard of a node and the others must know: which one
-- saw it last, that its store is gone from its disk, and how often news of its
-- damage came.
ALTER TABLE nodes ADD COLUMN seen_by BLOB;
ALTER TABLE nodes ADD COLUMN failing INTEGER NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN damage INTEGER NOT NULL DEFAULT 0;

-- While a copy of this database is made: 1 in the one that is filled, 2 in
-- the one that it was made of; and where that one is.
ALTER TABLE cluster ADD COLUMN moving INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cluster ADD COLUMN moved_to BLOB;
";

/// Workers find what is due without passing over what is not: an hour's
/// garbage, and a week's pieces in each node's trash.
const V5: &str = "
CREATE INDEX garbage_by_time ON garbage (left_ms, garbage_no);
CREATE INDEX condemned_by_node ON condemned (node_no, trashed_ms);
";

/// A list is read from the primary key's index alone: from the table, a page
/// of it took as many pages as it has keys.
const V6_HEAP: &str = "
CREATE UNIQUE INDEX objects_listed ON objects (bucket_no, key)
    INCLUDE (size_bytes, modified_ms, etag, checksum, storage_class);
ALTER TABLE objects DROP CONSTRAINT objects_pkey,
    ADD CONSTRAINT objects_pkey PRIMARY KEY USING INDEX objects_listed;
";

/// Audits: each node's record, what it failed share by share, and questions
/// that it left open. A node that audits have given a verdict on is suspended
/// for gateways of the version before.
const V7: &str = "
CREATE TABLE audits (
    node_no INTEGER PRIMARY KEY,
    record BLOB NOT NULL
);

CREATE TABLE audit_failures (
    node_no INTEGER NOT NULL,
    failure_no INTEGER NOT NULL,
    found_ms INTEGER NOT NULL,
    segment_id BLOB NOT NULL,
    piece INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    stripe INTEGER NOT NULL,
    fault INTEGER NOT NULL,
    PRIMARY KEY (node_no, failure_no)
) WITHOUT ROWID;

-- Shares that a node did not answer for: the same ones are asked for again.
CREATE TABLE audit_followups (
    node_no INTEGER NOT NULL,
    segment_id BLOB NOT NULL,
    piece INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    stripe INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    PRIMARY KEY (node_no, segment_id, piece, incarnation)
) WITHOUT ROWID;

-- What audits have concluded of a node: 0 nothing, 1 that it is suspended, 2
-- that its pieces do not count.
ALTER TABLE nodes ADD COLUMN verdict INTEGER NOT NULL DEFAULT 0;

-- Among segments that are equally near to loss: the share of their nodes that
-- is expected to stay, in millionths.
ALTER TABLE repairs ADD COLUMN steady INTEGER NOT NULL DEFAULT 0;
CREATE INDEX repairs_by_risk ON repairs (hopeless, margin, need, steady);
";
