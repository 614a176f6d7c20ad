//! One Arrow value as text for people, and one column as numbers for a chart.

use std::borrow::Cow;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

use super::sanitize::sanitize;

/// Whether values of this type are numbers: right-aligned, and fit to be measured.
pub fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

/// Whether values of this type are moments or days.
pub fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(_, _) | DataType::Date32 | DataType::Date64)
}

/// Whether values of this type are text.
pub fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// Shows the values of one array exactly: numbers with all their digits, moments as ISO 8601.
pub struct Cells<'a> {
    array: &'a dyn Array,
    text: ArrayFormatter<'a>,
}

impl<'a> Cells<'a> {
    /// A formatter for the array; fails where Arrow cannot show the type.
    pub fn new(array: &'a dyn Array) -> Result<Self, ArrowError> {
        // Nulls inside structs and lists are shown as null; `get` distinguishes a null of the column itself.
        let options = FormatOptions::new().with_null("null").with_display_error(true);
        Ok(Self { array, text: ArrayFormatter::try_new(array, &options)? })
    }

    /// The value in this row, safe for a terminal, or `None` where it is null.
    pub fn get(&self, row: usize) -> Option<String> {
        let text = self.raw(row)?;
        match sanitize(&text) {
            Cow::Borrowed(_) => Some(text),
            Cow::Owned(safe) => Some(safe),
        }
    }

    /// The value in this row as it is, or `None` where it is null.
    pub fn raw(&self, row: usize) -> Option<String> {
        self.array.is_valid(row).then(|| self.text.value(row).to_string())
    }
}

/// A column of several batches as doubles: `None` where it is null or not finite. Moments are milliseconds since 1970.
///
/// Good enough to position a mark on a screen; never used for a number that is shown.
pub fn numbers(batches: &[RecordBatch], column: usize) -> Vec<Option<f64>> {
    let mut values = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for batch in batches {
        match batch.columns().get(column).and_then(as_doubles) {
            Some(doubles) => values.extend(
                doubles.as_primitive::<Float64Type>().iter().map(|value| value.filter(|value| value.is_finite())),
            ),
            None => values.extend(std::iter::repeat_n(None, batch.num_rows())),
        }
    }
    values
}

fn as_doubles(array: &ArrayRef) -> Option<ArrayRef> {
    if is_time(array.data_type()) {
        let millis = cast(array, &DataType::Timestamp(TimeUnit::Millisecond, None)).ok()?;
        let millis = cast(&millis, &DataType::Int64).ok()?;
        return cast(&millis.as_primitive::<Int64Type>().clone(), &DataType::Float64).ok();
    }
    is_number(array.data_type()).then(|| cast(array, &DataType::Float64).ok()).flatten()
}

/// Digits in groups of three: `1234567.5` becomes `1,234,567.5`. Text that is not a plain decimal number stays as it is.
pub fn group_digits(number: &str) -> String {
    let (sign, rest) = number.strip_prefix('-').map_or(("", number), |rest| ("-", rest));
    let (whole, fraction) = rest.find('.').map_or((rest, ""), |dot| rest.split_at(dot));
    let decimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() < 4 || !decimal(whole) || !decimal(fraction.trim_start_matches('.')) {
        return number.to_owned();
    }
    let mut grouped = String::with_capacity(number.len() + whole.len() / 3);
    grouped.push_str(sign);
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped.push_str(fraction);
    grouped
}

/// How many decimals show values of this size well, so that a column has one width: 431.28, 0.0312, 12,345.
pub(crate) fn decimals_for(values: impl Iterator<Item = f64>) -> usize {
    let (mut largest, mut whole) = (0.0_f64, true);
    for value in values.filter(|value| value.is_finite()) {
        largest = largest.max(value.abs());
        whole &= value.fract() == 0.0;
    }
    match largest {
        _ if whole => 0,
        size if size >= 1000.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.01 => 4,
        _ => 6,
    }
}

/// A double for people: so many decimals, digits grouped.
pub(crate) fn show_double(value: f64, decimals: usize) -> String {
    // Beyond this a power of ten is easier to read than a row of digits.
    if value.is_finite() && value.abs() >= 1e15 {
        return format!("{value:.3e}");
    }
    group_digits(&format!("{value:.decimals$}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{Float64Array, Int32Array, StringArray, TimestampSecondArray};

    use super::*;

    #[test]
    fn digits_are_grouped_and_other_text_is_left_alone() {
        for (plain, grouped) in [
            ("0", "0"),
            ("999", "999"),
            ("1000", "1,000"),
            ("-1234567.1234", "-1,234,567.1234"),
            ("18446744073709551615", "18,446,744,073,709,551,615"),
            ("1e300", "1e300"),
            ("NaN", "NaN"),
            ("-inf", "-inf"),
            ("2026-01-31", "2026-01-31"),
            ("", ""),
        ] {
            assert_eq!(group_digits(plain), grouped);
        }
    }

    #[test]
    fn decimals_follow_the_size() {
        assert_eq!(decimals_for([1.0, 2.0].into_iter()), 0);
        assert_eq!(decimals_for([1.5, f64::NAN].into_iter()), 2);
        assert_eq!(decimals_for([12345.6].into_iter()), 1);
        assert_eq!(decimals_for([0.031].into_iter()), 4);
        assert_eq!(show_double(-12_345.678, 1), "-12,345.7");
        assert_eq!(show_double(1e300, 0), "1.000e300");
        assert_eq!(show_double(f64::NAN, 2), "NaN");
    }

    #[test]
    fn columns_of_any_number_or_time_become_doubles() {
        let batch = RecordBatch::try_from_iter([
            ("i", Arc::new(Int32Array::from(vec![Some(1), None])) as ArrayRef),
            ("f", Arc::new(Float64Array::from(vec![f64::INFINITY, 2.5])) as ArrayRef),
            ("t", Arc::new(TimestampSecondArray::from(vec![1, 2])) as ArrayRef),
            ("s", Arc::new(StringArray::from(vec!["1", "2"])) as ArrayRef),
        ])
        .unwrap();
        let batches = [batch];
        assert_eq!(numbers(&batches, 0), [Some(1.0), None]);
        assert_eq!(numbers(&batches, 1), [None, Some(2.5)]);
        assert_eq!(numbers(&batches, 2), [Some(1000.0), Some(2000.0)]);
        assert_eq!(numbers(&batches, 3), [None, None]);
        assert_eq!(numbers(&batches, 9), [None, None]);
    }

    #[test]
    fn cells_tell_null_from_text_and_are_safe() {
        let array = StringArray::from(vec![None, Some(""), Some("\x1b[2J")]);
        let cells = Cells::new(&array).unwrap();
        assert_eq!(
            [cells.get(0), cells.get(1), cells.get(2)],
            [None, Some(String::new()), Some("\\x1b[2J".to_owned())]
        );
    }
}
