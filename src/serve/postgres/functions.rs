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
