//! Values on their way to and from PostgreSQL: BIGINT, BYTEA, lists of them.

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::super::tx::{MetadataError, Param, Row, Value};

type Refusal = Box<dyn std::error::Error + Sync + Send>;

/// Bound by the type that the statement has for its place.
impl ToSql for Param<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Refusal> {
        match (self, ty) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Int(value), &Type::INT8) => value.to_sql(ty, out),
            (Self::Int(value), &Type::INT4) => i32::try_from(*value)?.to_sql(ty, out),
            (Self::Int(value), &Type::INT2) => i16::try_from(*value)?.to_sql(ty, out),
            (Self::Bytes(value), &Type::BYTEA) => value.to_sql(ty, out),
            (Self::Many(values), &Type::BYTEA_ARRAY) => values.to_sql(ty, out),
            (Self::Numbers(values), &Type::INT8_ARRAY) => values.to_sql(ty, out),
            _ => Err(format!("a value does not fit the statement's {ty}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

pub(super) fn row(row: &tokio_postgres::Row) -> Result<Row, MetadataError> {
    (0..row.len()).map(|column| value(row, column)).collect::<Result<_, _>>().map(Row)
}

fn value(row: &tokio_postgres::Row, column: usize) -> Result<Value, MetadataError> {
    let wrong = |error: tokio_postgres::Error| MetadataError::Corrupt(error.to_string());
    let number = |value: Option<i64>| value.map_or(Value::Null, Value::Int);
    match row.columns()[column].type_() {
        &Type::INT8 => row.try_get(column).map(number).map_err(wrong),
        &Type::INT4 => row.try_get(column).map(|value: Option<i32>| number(value.map(i64::from))).map_err(wrong),
        &Type::BYTEA => {
            let bytes: Option<&[u8]> = row.try_get(column).map_err(wrong)?;
            Ok(bytes.map_or(Value::Null, |bytes| Value::Bytes(bytes.to_vec())))
        }
        other => Err(MetadataError::Corrupt(format!("column {column} is of the unexpected type {other}"))),
    }
}
