//! The tables that a copy takes along, described as data, and the statements
//! that follow from it. A range of a table is all rows from one key on, up to
//! and without another one, in the order of the primary key, which is the same
//! on all engines: integers by value, bytes by value.

use std::sync::LazyLock;

use super::super::tx::{Param, Value};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Int,
    Bytes,
}

use Kind::{Bytes, Int};

/// A column: its name and what it holds.
pub type Column = (&'static str, Kind);

/// A place in a table: the values of the key's columns.
pub type Key = Vec<Value>;

/// A table of the schema.
pub struct Description {
    pub name: &'static str,
    /// The primary key's columns, in order.
    pub key: &'static [Column],
    pub rest: &'static [Column],
    /// A condition on the rows that are taken along.
    only: &'static str,
}

/// All that a copy takes along.
pub const TABLES: &[Description] = &[
    // Those two are sequences on PostgreSQL, and carried over apart.
    Description {
        name: "counters",
        key: &[("name", Bytes)],
        rest: &[("value", Int)],
        only: "AND name <> CAST('sequence' AS BLOB) AND name <> CAST('garbage' AS BLOB)",
    },
    Description {
        name: "nodes",
        key: &[("node_no", Int)],
        rest: &[
            ("node_id", Bytes),
            ("state", Int),
            ("place", Bytes),
            ("labels", Bytes),
            ("joined_ms", Int),
            ("last_instance", Bytes),
            ("start_counter", Int),
            ("log_position", Int),
            ("said", Bytes),
            ("address", Bytes),
            ("software", Bytes),
            ("space", Bytes),
            ("seen_ms", Int),
            ("reason", Bytes),
            ("drain_epoch", Int),
            ("wrong_shares", Int),
            ("rollbacks", Int),
            ("compared", Int),
            ("seen_by", Bytes),
            ("failing", Int),
            ("damage", Int),
            ("verdict", Int),
        ],
        only: "",
    },
    Description {
        name: "tokens",
        key: &[("token_id", Bytes)],
        rest: &[
            ("secret_digest", Bytes),
            ("created_ms", Int),
            ("expires_ms", Int),
            ("revoked_ms", Int),
            ("uses", Int),
            ("used", Int),
            ("labels", Bytes),
        ],
        only: "",
    },
    Description {
        name: "redemptions",
        key: &[("token_id", Bytes), ("node_id", Bytes)],
        rest: &[("redeemed_ms", Int)],
        only: "",
    },
    Description { name: "audits", key: &[("node_no", Int)], rest: &[("record", Bytes)], only: "" },
    Description {
        name: "audit_failures",
        key: &[("node_no", Int), ("failure_no", Int)],
        rest: &[
            ("found_ms", Int),
            ("segment_id", Bytes),
            ("piece", Int),
            ("incarnation", Int),
            ("stripe", Int),
            ("fault", Int),
        ],
        only: "",
    },
    Description {
        name: "audit_followups",
        key: &[("node_no", Int), ("segment_id", Bytes), ("piece", Int), ("incarnation", Int)],
        rest: &[("stripe", Int), ("tries", Int), ("due_ms", Int)],
        only: "",
    },
    Description { name: "damaged", key: &[("node_no", Int), ("piece_id", Bytes)], rest: &[], only: "" },
    Description {
        name: "buckets",
        key: &[("bucket_no", Int)],
        rest: &[("name", Bytes), ("created_ms", Int)],
        only: "",
    },
    Description {
        name: "objects",
        key: &[("bucket_no", Int), ("key", Bytes)],
        rest: &[
            ("size_bytes", Int),
            ("modified_ms", Int),
            ("etag", Bytes),
            ("checksum", Bytes),
            ("storage_class", Bytes),
            ("sequence", Int),
            ("version_id", Bytes),
            ("body_id", Bytes),
            ("upload_id", Bytes),
            ("part_count", Int),
            ("headers", Bytes),
            ("inline", Bytes),
        ],
        only: "",
    },
    Description {
        name: "bodies",
        key: &[("body_id", Bytes)],
        rest: &[("refs", Int), ("size_bytes", Int), ("spans", Bytes), ("parts", Bytes)],
        only: "",
    },
    Description {
        name: "streams",
        key: &[("stream_id", Bytes)],
        rest: &[
            ("refs", Int),
            ("size_bytes", Int),
            ("format", Int),
            ("key_version", Int),
            ("wrapped_key", Bytes),
            ("md5", Bytes),
            ("checksum", Bytes),
            ("revision", Int),
            ("extents", Bytes),
            ("inline", Bytes),
        ],
        only: "",
    },
    Description {
        name: "segments",
        key: &[("segment_id", Bytes)],
        rest: &[
            ("layout", Bytes),
            ("mac_key", Bytes),
            ("root", Bytes),
            ("epoch", Int),
            ("revision", Int),
            ("streams", Int),
            ("live_bytes", Int),
            ("pieces", Bytes),
            ("incarnation", Int),
        ],
        only: "",
    },
    Description {
        name: "repairs",
        key: &[("segment_id", Bytes)],
        rest: &[
            ("hopeless", Int),
            ("margin", Int),
            ("need", Int),
            ("lost", Bytes),
            ("tried", Bytes),
            ("holder", Bytes),
            ("taken_until_ms", Int),
            ("steady", Int),
        ],
        only: "",
    },
    Description {
        name: "uploads",
        key: &[("bucket_no", Int), ("key", Bytes), ("upload_id", Bytes)],
        rest: &[("initiated_ms", Int), ("checksum", Int), ("storage_class", Bytes), ("headers", Bytes)],
        only: "",
    },
    Description {
        name: "parts",
        key: &[("upload_id", Bytes), ("number", Int)],
        rest: &[("size_bytes", Int), ("modified_ms", Int), ("etag", Bytes), ("checksum", Bytes), ("spans", Bytes)],
        only: "",
    },
    Description { name: "garbage", key: &[("garbage_no", Int)], rest: &[("left_ms", Int), ("spans", Bytes)], only: "" },
    Description {
        name: "condemned",
        key: &[("node_no", Int), ("segment_id", Bytes), ("piece", Int), ("incarnation", Int)],
        rest: &[("trashed_ms", Int)],
        only: "",
    },
];

/// A table and its statements. Ranges bind the first key, then the one that
/// ends it; a limit comes last.
pub struct Table {
    /// As people know it.
    pub name: &'static str,
    pub key: &'static [Column],
    /// How many rows there are.
    pub count: String,
    /// Each row's key and bytes.
    pub sizes: String,
    /// How many rows and bytes a range has.
    pub measure: String,
    pub rows: String,
    pub insert: String,
    /// Removes a range.
    pub clear: String,
    /// Removes some rows of a range.
    pub trim: String,
}

/// All of them.
pub static ALL: LazyLock<Vec<Table>> = LazyLock::new(|| TABLES.iter().map(Table::new).collect());

impl Table {
    fn new(description: &Description) -> Self {
        let Description { name, key, rest, only } = *description;
        let columns: Vec<Column> = key.iter().chain(rest).copied().collect();
        let (own, all) = (names(key), names(&columns));
        // While the database is moving it has another name.
        let stored = if name == super::FENCED { super::FENCED_AWAY } else { name };
        let (first, last, limit) = (places(1, key.len()), places(key.len() + 1, key.len()), key.len() * 2 + 1);
        let range = format!("FROM {stored} WHERE ({own}) >= ({first}) AND ({own}) < ({last}) {only}");
        let bytes = bytes(&columns);
        Self {
            name,
            key,
            count: format!("SELECT COUNT(*) FROM {stored} WHERE 1 = 1 {only}"),
            sizes: format!("SELECT {own}, {bytes} {range} ORDER BY {own} LIMIT ?{limit}"),
            measure: format!(
                "SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) \
                 FROM (SELECT {bytes} AS size {range} LIMIT ?{limit}) AS page"
            ),
            rows: format!("SELECT {all} {range} ORDER BY {own} LIMIT ?{limit}"),
            insert: format!("INSERT INTO {stored} ({all}) VALUES ({})", places(1, columns.len())),
            clear: format!("DELETE {range}"),
            trim: format!("DELETE FROM {stored} WHERE ({own}) IN (SELECT {own} {range} LIMIT ?{limit})"),
        }
    }

    /// Before all rows.
    pub fn start(&self) -> Key {
        let least = |(_, kind): &Column| match kind {
            Int => Value::Int(i64::MIN),
            Bytes => Value::Bytes(Vec::new()),
        };
        self.key.iter().map(least).collect()
    }

    /// After all rows: no number is that large, and no name, which is UTF-8,
    /// and no id, which is shorter, begins like this.
    pub fn end(&self) -> Key {
        let most = |(_, kind): &Column| match kind {
            Int => Value::Int(i64::MAX),
            Bytes => Value::Bytes(vec![0xff; 64]),
        };
        self.key.iter().map(most).collect()
    }
}

fn names(columns: &[Column]) -> String {
    columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

fn places(first: usize, count: usize) -> String {
    (first..first + count).map(|number| format!("?{number}")).collect::<Vec<_>>().join(", ")
}

/// What a row's columns of bytes add up to.
fn bytes(columns: &[Column]) -> String {
    let lengths = columns.iter().filter(|(_, kind)| *kind == Bytes);
    lengths
        .map(|(name, _)| format!("COALESCE(LENGTH({name}), 0)"))
        .chain(["0".to_owned()])
        .collect::<Vec<_>>()
        .join(" + ")
}

/// A value as a statement takes it.
pub fn param(value: &Value) -> Param<'_> {
    match value {
        Value::Null => Param::Null,
        Value::Int(value) => Param::Int(*value),
        Value::Bytes(value) => Param::Bytes(value),
    }
}
