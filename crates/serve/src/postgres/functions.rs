//! Functions that Postgres clients call: a setting's value, and the server's version.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Signature, SimpleScalarUDF, TypeSignature, Volatility};

use super::settings::SERVER_VERSION;

/// `current_setting(name [, missing_ok])` of a session with these settings.
pub fn current_setting(settings: BTreeMap<String, String>) -> ScalarUDF {
    let text = |more: &[DataType]| TypeSignature::Exact([&[DataType::Utf8], more].concat());
    let signature = Signature::one_of(vec![text(&[]), text(&[DataType::Boolean])], Volatility::Stable);
    let look_up = move |args: &[ColumnarValue]| {
        let missing_ok = matches!(args.get(1), Some(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true)))));
        let arrays = ColumnarValue::values_to_arrays(&args[..1])?;
        let names = cast(&arrays[0], &DataType::Utf8)?;
        let mut values = Vec::with_capacity(names.len());
        for name in names.as_string::<i32>() {
            let value = name.and_then(|name| settings.get(&name.to_lowercase()));
            if let (Some(name), None, false) = (name, value, missing_ok) {
                return exec_err!("unrecognized configuration parameter \"{name}\"");
            }
            values.push(value.map(String::as_str));
        }
        let values: ArrayRef = Arc::new(StringArray::from(values));
        Ok(ColumnarValue::Array(values))
    };
    function("current_setting", signature, DataType::Utf8, look_up)
}

/// `version()`
pub fn version() -> ScalarUDF {
    let version = ScalarValue::from(format!("PostgreSQL {SERVER_VERSION}"));
    constant("version", Signature::exact(vec![], Volatility::Stable), version)
}

/// Functions of the catalog with constant results: everything is visible, nothing has a comment, a size or a definition.
pub fn of_the_catalog() -> Vec<ScalarUDF> {
    let constants = [
        (&VISIBLE[..], ScalarValue::from(true)),
        (&["pg_is_in_recovery", "pg_is_other_temp_schema"], ScalarValue::from(false)),
        (&UNKNOWN[..], ScalarValue::Utf8(None)),
        (&["pg_size_pretty"], ScalarValue::from("0 bytes")),
        (&["pg_table_size", "pg_indexes_size", "pg_database_size", "pg_my_temp_schema"], ScalarValue::from(0_i64)),
    ];
    let functions = constants.into_iter().flat_map(|(names, value)| {
        names.iter().map(move |name| {
            let arguments = TypeSignature::OneOf(vec![TypeSignature::Nullary, TypeSignature::VariadicAny]);
            let signature = Signature::new(arguments, Volatility::Stable);
            constant(name, signature, value.clone())
        })
    });
    functions.collect()
}

const VISIBLE: [&str; 6] = [
    "pg_function_is_visible",
    "pg_type_is_visible",
    "pg_operator_is_visible",
    "pg_opclass_is_visible",
    "pg_collation_is_visible",
    "pg_ts_config_is_visible",
];

const UNKNOWN: [&str; 14] = [
    "obj_description",
    "col_description",
    "shobj_description",
    "pg_get_viewdef",
    "pg_get_indexdef",
    "pg_get_ruledef",
    "pg_get_triggerdef",
    "pg_get_functiondef",
    "pg_get_function_result",
    "pg_get_function_arguments",
    "pg_get_function_identity_arguments",
    "pg_get_serial_sequence",
    "pg_get_statisticsobjdef",
    "pg_tablespace_location",
];

fn constant(name: &str, signature: Signature, value: ScalarValue) -> ScalarUDF {
    function(name, signature, value.data_type(), move |_| Ok(ColumnarValue::Scalar(value.clone())))
}

fn function(
    name: &str,
    signature: Signature,
    returns: DataType,
    run: impl Fn(&[ColumnarValue]) -> Result<ColumnarValue> + Send + Sync + 'static,
) -> ScalarUDF {
    SimpleScalarUDF::new_with_signature(name, signature, returns, Arc::new(run)).into()
}
