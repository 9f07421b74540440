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

/// The values of many rows for the same place of a statement: an array.
#[derive(Debug)]
pub(super) enum Column<'a> {
    Numbers(Vec<i64>),
    Bytes(Vec<&'a [u8]>),
}

impl Column<'_> {
    /// What PostgreSQL calls one of them.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Numbers(_) => "BIGINT",
            Self::Bytes(_) => "BYTEA",
        }
    }

    pub(super) fn as_param(&self) -> Param<'_> {
        match self {
            Self::Numbers(values) => Param::Numbers(values),
            Self::Bytes(values) => Param::Many(values),
        }
    }
}

/// Rows turned into columns; none if a value is missing or no column has one type.
pub(super) fn columns<'a>(rows: &[Vec<Param<'a>>]) -> Option<Vec<Column<'a>>> {
    let width = rows.first()?.len();
    (0..width).map(|at| column(rows.iter().map(|row| row.get(at).copied()))).collect()
}

fn column<'a>(mut values: impl Iterator<Item = Option<Param<'a>>>) -> Option<Column<'a>> {
    let mut column = match values.next()?? {
        Param::Int(value) => Column::Numbers(vec![value]),
        Param::Bytes(value) => Column::Bytes(vec![value]),
        _ => return None,
    };
    for value in values {
        match (&mut column, value?) {
            (Column::Numbers(column), Param::Int(value)) => column.push(value),
            (Column::Bytes(column), Param::Bytes(value)) => column.push(value),
            _ => return None,
        }
    }
    Some(column)
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
