//! Which columns are declared `TIMESTAMP` without a precision: a number in them says its unit by its size.
//!
//! `TIMESTAMP(3)` counts milliseconds, `TIMESTAMP(9)` nanoseconds. Plain `TIMESTAMP`, as one writes it in PostgreSQL, names
//! no unit, and taking nanoseconds would put a producer's milliseconds into 1970.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::sql::sqlparser::ast::{ArrayElemTypeDef, DataType as SqlType};
use tallgrass_decode::UNIT_BY_SIZE;

/// The field with a mark at each plain `TIMESTAMP`, in structs and lists too.
pub(super) fn mark(field: &Field, declared: &SqlType) -> Field {
    match (field.data_type(), declared) {
        (DataType::Timestamp(_, _), SqlType::Timestamp(None, _)) => {
            let mark = (UNIT_BY_SIZE.to_owned(), String::new());
            field.clone().with_metadata([mark].into())
        }
        (DataType::Struct(fields), SqlType::Struct(declared, _)) if fields.len() == declared.len() => {
            let fields: Fields =
                fields.iter().zip(declared).map(|(field, declared)| mark(field, &declared.field_type)).collect();
            field.clone().with_data_type(DataType::Struct(fields))
        }
        (
            DataType::List(item),
            SqlType::Array(
                ArrayElemTypeDef::AngleBracket(declared)
                | ArrayElemTypeDef::SquareBracket(declared, _)
                | ArrayElemTypeDef::Parenthesis(declared),
            ),
        ) => field.clone().with_data_type(DataType::List(Arc::new(mark(item, declared)))),
        _ => field.clone(),
    }
}
