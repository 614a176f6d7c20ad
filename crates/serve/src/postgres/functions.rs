//! Functions that clients of Postgres ask: a setting's value, and the server's version.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::settings::SERVER_VERSION;

/// `current_setting(name [, missing_ok])` of a session with these settings.
pub fn current_setting(settings: BTreeMap<String, String>) -> ScalarUDF {
    let text = |more: &[DataType]| TypeSignature::Exact([&[DataType::Utf8], more].concat());
    let signature = Signature::one_of(vec![text(&[]), text(&[DataType::Boolean])], Volatility::Stable);
    ScalarUDF::new_from_impl(CurrentSetting { settings, signature })
}

/// `version()`
pub fn version() -> ScalarUDF {
    ScalarUDF::new_from_impl(Version { signature: Signature::exact(vec![], Volatility::Stable) })
}

/// Functions of the catalog that say the same of everything: all is visible, nothing has a comment, a size or a definition.
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
            ScalarUDF::new_from_impl(Constant { name, value: value.clone(), signature })
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

#[derive(Debug, PartialEq, Eq, Hash)]
struct Constant {
    name: &'static str,
    value: ScalarValue,
    signature: Signature,
}

impl ScalarUDFImpl for Constant {
    fn name(&self) -> &'static str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.value.data_type())
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value.clone()))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CurrentSetting {
    settings: BTreeMap<String, String>,
    signature: Signature,
}

impl ScalarUDFImpl for CurrentSetting {
    fn name(&self) -> &'static str {
        "current_setting"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let missing_ok = matches!(args.args.get(1), Some(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true)))));
        let arrays = ColumnarValue::values_to_arrays(&args.args[..1])?;
        let names = cast(&arrays[0], &DataType::Utf8)?;
        let mut values = Vec::with_capacity(names.len());
        for name in names.as_string::<i32>() {
            let value = name.and_then(|name| self.settings.get(&name.to_lowercase()));
            if let (Some(name), None, false) = (name, value, missing_ok) {
                return exec_err!("unrecognized configuration parameter \"{name}\"");
            }
            values.push(value.map(String::as_str));
        }
        let values: ArrayRef = Arc::new(StringArray::from(values));
        Ok(ColumnarValue::Array(values))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Version {
    signature: Signature,
}

impl ScalarUDFImpl for Version {
    fn name(&self) -> &'static str {
        "version"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(ScalarValue::from(format!("PostgreSQL {SERVER_VERSION}"))))
    }
}
