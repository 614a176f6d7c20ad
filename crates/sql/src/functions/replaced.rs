//! What a function that replaces one of `DataFusion`'s leaves to it.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

/// The function that is replaced, for what it does right.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Replaced(pub Arc<ScalarUDF>);

impl Replaced {
    /// The built-in's own result.
    pub fn invoke(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.0.inner().invoke_with_args(args)
    }
}
