//! What the engines' SQL differs in. Statements are written once, in a subset
//! that all of them share, and read as they stand by SQLite; for PostgreSQL
//! they are translated when a connection prepares them.
//!
//! The subset: `?1 … ?n`, integers and bytes as the only types, `INSERT … ON
//! CONFLICT`, `RETURNING`, `CASE`, one table in a statement that locks.

/// How a row that was read is kept as it is until the transaction's end.
/// SQLite has one writer, which needs no locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lock {
    /// Not at all.
    None,
    /// It is not removed, nor taken for [`Lock::Change`].
    Exists,
    /// It is not changed.
    Share,
    /// It is this transaction's to change.
    Change,
    /// The same; rows that others have are passed over.
    Take,
}

impl Lock {
    fn clause(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Exists => " FOR KEY SHARE",
            Self::Share => " FOR SHARE",
            Self::Change => " FOR UPDATE",
            Self::Take => " FOR UPDATE SKIP LOCKED",
        }
    }
}

/// The database's clock in milliseconds.
pub const CLOCK_SQLITE: &str = "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)";
/// The same: not the transaction's start, which may be long ago.
pub const CLOCK_POSTGRES: &str = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";

/// Numbers that only have to differ: a counter in SQLite, in PostgreSQL a
/// sequence, for which nobody waits.
#[derive(Debug, Clone, Copy)]
pub enum Sequence {
    /// Of writes of objects. Drawn while the key's row is locked.
    Object,
    /// Of rows of garbage.
    Garbage,
}

impl Sequence {
    /// Its row in `counters`.
    pub fn counter(self) -> &'static str {
        match self {
            Self::Object => "sequence",
            Self::Garbage => "garbage",
        }
    }

    /// Draws one in PostgreSQL.
    pub fn draw(self) -> &'static str {
        match self {
            Self::Object => "SELECT nextval('object_sequence')",
            Self::Garbage => "SELECT nextval('garbage_sequence')",
        }
    }

    /// The last one that was drawn in PostgreSQL.
    pub fn drawn(self) -> &'static str {
        match self {
            Self::Object => "SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM object_sequence",
            Self::Garbage => "SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM garbage_sequence",
        }
    }

    /// Has PostgreSQL draw larger ones than this, and none twice.
    pub fn raise(self) -> &'static str {
        match self {
            Self::Object => {
                "SELECT setval('object_sequence', GREATEST(CAST(?1 AS BIGINT) + 1, \
                 CASE WHEN is_called THEN last_value + 1 ELSE last_value END), false) FROM object_sequence"
            }
            Self::Garbage => {
                "SELECT setval('garbage_sequence', GREATEST(CAST(?1 AS BIGINT) + 1, \
                 CASE WHEN is_called THEN last_value + 1 ELSE last_value END), false) FROM garbage_sequence"
            }
        }
    }
}

/// A statement as PostgreSQL reads it.
pub fn postgres(sql: &str, lock: Lock) -> String {
    let sql = sql.replace('?', "$").replace("AS BLOB)", "AS BYTEA)");
    // PostgreSQL has it by this name, in quotes since its own grammar also has it.
    lists(&sql.replace("instr(", "pg_catalog.\"position\"(")) + lock.clause()
}

/// `IN (SELECT value FROM rarray($1))` becomes `= ANY($1)`.
fn lists(sql: &str) -> String {
    let mut parts = sql.split("IN (SELECT value FROM rarray(");
    let mut translated = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        translated += "= ANY(";
        translated += &part.replacen("))", ")", 1);
    }
    translated
}

/// A statement that PostgreSQL does for many rows at once, with an array for
/// each of its values. `types` are these arrays'.
pub fn postgres_rows(sql: &str, types: &[&str]) -> String {
    let (arrays, names): (Vec<_>, Vec<_>) =
        types.iter().enumerate().map(|(at, ty)| (format!("${}::{ty}[]", at + 1), format!("given_{}", at + 1))).unzip();
    let given = format!("unnest({}) AS given ({})", arrays.join(", "), names.join(", "));
    let sql = sql.replace('?', "given_");
    if let Some((update, condition)) = sql.split_once(" WHERE ") {
        let from = if update.starts_with("DELETE") { "USING" } else { "FROM" };
        return format!("{update} {from} {given} WHERE {condition}");
    }
    let (insert, values) = sql.split_once(" VALUES (").unwrap_or((&sql, ""));
    let (values, rest) = values.rsplit_once(')').unwrap_or((values, ""));
    format!("{insert} SELECT {values} FROM {given}{rest}")
}

/// A migration as PostgreSQL reads it.
pub fn postgres_schema(sql: &str) -> String {
    let types = sql.replace(" BLOB", " BYTEA").replace(" INTEGER", " BIGINT");
    types.replace(" WITHOUT ROWID", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_translated() {
        let sql = "SELECT a FROM b WHERE c = ?1 AND d IN (SELECT value FROM rarray(?12)) AND (e = ?2)";
        assert_eq!(
            postgres(sql, Lock::Change),
            "SELECT a FROM b WHERE c = $1 AND d = ANY($12) AND (e = $2) FOR UPDATE"
        );
        assert_eq!(postgres("CAST(instr(a, ?1) AS BLOB)", Lock::None), "CAST(pg_catalog.\"position\"(a, $1) AS BYTEA)");
    }

    #[test]
    fn statements_for_many_rows_are_translated() {
        let given = "unnest($1::BIGINT[], $2::BYTEA[]) AS given (given_1, given_2)";
        let translated = |sql| postgres_rows(sql, &["BIGINT", "BYTEA"]);
        assert_eq!(
            translated("INSERT INTO a (b, c, d) VALUES (?1, ?2, 1) ON CONFLICT DO NOTHING"),
            format!("INSERT INTO a (b, c, d) SELECT given_1, given_2, 1 FROM {given} ON CONFLICT DO NOTHING")
        );
        assert_eq!(
            translated("UPDATE a SET b = ?1 WHERE c = ?2"),
            format!("UPDATE a SET b = given_1 FROM {given} WHERE c = given_2")
        );
        assert_eq!(
            translated("DELETE FROM a WHERE b = ?1 AND c = ?2"),
            format!("DELETE FROM a USING {given} WHERE b = given_1 AND c = given_2")
        );
    }

    #[test]
    fn migrations_are_translated() {
        let sql = "CREATE TABLE a (b BLOB NOT NULL, c INTEGER PRIMARY KEY) WITHOUT ROWID; CAST('d' AS BLOB)";
        let expected = "CREATE TABLE a (b BYTEA NOT NULL, c BIGINT PRIMARY KEY); CAST('d' AS BYTEA)";
        assert_eq!(postgres_schema(sql), expected);
    }
}
