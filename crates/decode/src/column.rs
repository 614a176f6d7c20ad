//! One declared column: its type, and its values as far as they are wanted.

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, ListArray, OffsetSizeTrait, StructArray, new_empty_array};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{
    ArrowNativeType, DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use super::bad::{BadReason, Parsed, UnsupportedType, malformed, mismatch};
use super::build::{Bits, Nulls, OffsetStrings, Primitives, Views, take};
use super::number;
use super::object::Object;
use super::scan::{literal, plain_end, white_space};
use super::skip;
use super::text;
use super::time::{self, TimestampReader};
use super::{MAX_DEPTH, UNIT_BY_SIZE};

/// A declared column: whether it may be null, and the decoder of its type.
#[derive(Debug)]
pub struct FieldDecoder {
    nullable: bool,
    column: ColumnDecoder,
}

/// `None` where the column is not wanted: its values pass through the same code, so that whether a record counts does not
/// depend on the reader, and are dropped instead of kept.
#[derive(Debug)]
enum ColumnDecoder {
    Boolean(Option<Bits>),
    Int8(Option<Primitives<i8>>),
    Int16(Option<Primitives<i16>>),
    Int32(Option<Primitives<i32>>),
    Int64(Option<Primitives<i64>>),
    UInt8(Option<Primitives<u8>>),
    UInt16(Option<Primitives<u16>>),
    UInt32(Option<Primitives<u32>>),
    UInt64(Option<Primitives<u64>>),
    Float32(Option<Primitives<f32>>),
    Float64(Option<Primitives<f64>>),
    Decimal(u8, i8, Option<Primitives<i128>>),
    Date(Option<Primitives<i32>>),
    Timestamp(TimestampReader, Option<Primitives<i64>>),
    View(Option<Views>),
    Text(Option<OffsetStrings<i32>>),
    LargeText(Option<OffsetStrings<i64>>),
    Struct(Box<Object>, Option<Structs>),
    List(Box<FieldDecoder>, Option<Lists>),
}

/// How many structs there are, and which of them are null.
#[derive(Debug, Default)]
struct Structs {
    len: usize,
    nulls: Nulls,
}

/// Where each list ends among the items.
#[derive(Debug, Default)]
struct Lists {
    ends: Vec<i32>,
    nulls: Nulls,
}

/// Runs one expression for every column with values of its own (as `$out`), one for structs and one for lists.
macro_rules! for_each_kind {
    ($column:expr, $out:ident => $leaf:expr, $object:ident, $rows:ident => $struct:expr, $item:ident, $lists:ident => $list:expr) => {
        match $column {
            ColumnDecoder::Boolean($out) => $leaf,
            ColumnDecoder::Int8($out) => $leaf,
            ColumnDecoder::Int16($out) => $leaf,
            ColumnDecoder::Int32($out) => $leaf,
            ColumnDecoder::Int64($out) => $leaf,
            ColumnDecoder::UInt8($out) => $leaf,
            ColumnDecoder::UInt16($out) => $leaf,
            ColumnDecoder::UInt32($out) => $leaf,
            ColumnDecoder::UInt64($out) => $leaf,
            ColumnDecoder::Float32($out) => $leaf,
            ColumnDecoder::Float64($out) => $leaf,
            ColumnDecoder::Decimal(_, _, $out) => $leaf,
            ColumnDecoder::Date($out) => $leaf,
            ColumnDecoder::Timestamp(_, $out) => $leaf,
            ColumnDecoder::View($out) => $leaf,
            ColumnDecoder::Text($out) => $leaf,
            ColumnDecoder::LargeText($out) => $leaf,
            ColumnDecoder::Struct($object, $rows) => $struct,
            ColumnDecoder::List($item, $lists) => $list,
        }
    };
}

impl FieldDecoder {
    /// The decoder of a declared field inside `depth` objects and lists.
    pub fn new(field: &Field, depth: usize, wanted: bool) -> Result<Self, UnsupportedType> {
        Ok(Self { nullable: field.is_nullable(), column: ColumnDecoder::new(field, depth, wanted)? })
    }

    /// Whether null, or a missing key, is a value.
    pub fn is_nullable(&self) -> bool {
        self.nullable
    }

    /// Reads the value at `at` and appends it.
    #[inline]
    pub fn read(&mut self, bytes: &[u8], at: usize, depth: usize, scratch: &mut Vec<u8>) -> Parsed {
        if bytes.get(at) == Some(&b'n') { self.null(bytes, at) } else { self.column.read(bytes, at, depth, scratch) }
    }

    fn null(&mut self, bytes: &[u8], at: usize) -> Parsed {
        let end = literal(bytes, at, "null")?;
        if !self.nullable {
            return Err(BadReason::Null.at(at));
        }
        self.push_null();
        Ok(end)
    }

    /// Appends a null.
    pub fn push_null(&mut self) {
        for_each_kind!(
            &mut self.column,
            out => if let Some(out) = out { out.push_null() },
            object, rows => if let Some(rows) = rows {
                rows.nulls.push(rows.len);
                rows.len += 1;
                object.push_null();
            },
            _item, lists => if let Some(lists) = lists {
                lists.nulls.push(lists.ends.len());
                lists.ends.push(lists.items());
            }
        );
    }

    /// Cuts the column to an earlier length.
    pub fn truncate(&mut self, len: usize) {
        for_each_kind!(
            &mut self.column,
            out => if let Some(out) = out { out.truncate(len) },
            object, rows => if let Some(rows) = rows {
                rows.len = rows.len.min(len);
                rows.nulls.truncate(len);
                object.truncate(len);
            },
            item, lists => if let Some(lists) = lists {
                lists.ends.truncate(len);
                lists.nulls.truncate(len);
                item.truncate(lists.items() as usize);
            }
        );
    }

    /// Hands over the column and starts an empty one; `data_type` is the one that it was made with.
    pub fn finish(&mut self, data_type: &DataType) -> ArrayRef {
        self.column.finish(data_type).unwrap_or_else(|| new_empty_array(data_type))
    }
}

impl Lists {
    /// The items of all lists.
    fn items(&self) -> i32 {
        self.ends.last().copied().unwrap_or_default()
    }
}

impl ColumnDecoder {
    fn new(field: &Field, depth: usize, wanted: bool) -> Result<Self, UnsupportedType> {
        fn out<T: Default>(wanted: bool) -> Option<T> {
            wanted.then(T::default)
        }
        let data_type = field.data_type();
        let unsupported = || UnsupportedType { column: String::new(), data_type: data_type.clone() };
        Ok(match data_type {
            DataType::Boolean => Self::Boolean(out(wanted)),
            DataType::Int8 => Self::Int8(out(wanted)),
            DataType::Int16 => Self::Int16(out(wanted)),
            DataType::Int32 => Self::Int32(out(wanted)),
            DataType::Int64 => Self::Int64(out(wanted)),
            DataType::UInt8 => Self::UInt8(out(wanted)),
            DataType::UInt16 => Self::UInt16(out(wanted)),
            DataType::UInt32 => Self::UInt32(out(wanted)),
            DataType::UInt64 => Self::UInt64(out(wanted)),
            DataType::Float32 => Self::Float32(out(wanted)),
            DataType::Float64 => Self::Float64(out(wanted)),
            DataType::Decimal128(precision, scale) => Self::Decimal(*precision, *scale, out(wanted)),
            DataType::Date32 => Self::Date(out(wanted)),
            DataType::Timestamp(unit, zone) => {
                let reader = TimestampReader::new(*unit, zone.as_deref()).ok_or_else(unsupported)?;
                Self::Timestamp(reader.with_unit_by_size(field.metadata().contains_key(UNIT_BY_SIZE)), out(wanted))
            }
            DataType::Utf8View => Self::View(out(wanted)),
            DataType::Utf8 => Self::Text(out(wanted)),
            DataType::LargeUtf8 => Self::LargeText(out(wanted)),
            DataType::Struct(fields) if depth < MAX_DEPTH => {
                Self::Struct(Box::new(Object::new(fields, depth + 1, |_| wanted)?), out(wanted))
            }
            DataType::List(item) if depth < MAX_DEPTH => {
                Self::List(Box::new(FieldDecoder::new(item, depth + 1, wanted)?), out(wanted))
            }
            _ => return Err(unsupported()),
        })
    }

    #[inline]
    fn read(&mut self, bytes: &[u8], at: usize, depth: usize, scratch: &mut Vec<u8>) -> Parsed {
        match self {
            Self::Boolean(out) => boolean(bytes, at, out, scratch),
            Self::Int8(out) => integer(bytes, at, "TINYINT", out),
            Self::Int16(out) => integer(bytes, at, "SMALLINT", out),
            Self::Int32(out) => integer(bytes, at, "INT", out),
            Self::Int64(out) => integer(bytes, at, "BIGINT", out),
            Self::UInt8(out) => integer(bytes, at, "TINYINT UNSIGNED", out),
            Self::UInt16(out) => integer(bytes, at, "SMALLINT UNSIGNED", out),
            Self::UInt32(out) => integer(bytes, at, "INT UNSIGNED", out),
            Self::UInt64(out) => integer(bytes, at, "BIGINT UNSIGNED", out),
            Self::Float32(out) => float(bytes, at, out),
            Self::Float64(out) => float(bytes, at, out),
            Self::Decimal(precision, scale, out) => decimal(bytes, at, (*precision, *scale), out, scratch),
            Self::Date(out) => date(bytes, at, out, scratch),
            Self::Timestamp(reader, out) => timestamp(bytes, at, reader, out, scratch),
            Self::View(out) => view(bytes, at, depth, out, scratch),
            Self::Text(out) => text(bytes, at, depth, out, scratch),
            Self::LargeText(out) => text(bytes, at, depth, out, scratch),
            Self::Struct(object, rows) => {
                let end = object.read(bytes, at, depth, scratch)?;
                if let Some(rows) = rows {
                    rows.len += 1;
                }
                Ok(end)
            }
            Self::List(item, lists) => list(bytes, at, depth, item, lists, scratch),
        }
    }

    /// `None` where nothing was wanted.
    fn finish(&mut self, data_type: &DataType) -> Option<ArrayRef> {
        Some(match self {
            Self::Boolean(out) => out.as_mut()?.finish(),
            Self::Int8(out) => out.as_mut()?.finish::<Int8Type>(data_type),
            Self::Int16(out) => out.as_mut()?.finish::<Int16Type>(data_type),
            Self::Int32(out) => out.as_mut()?.finish::<Int32Type>(data_type),
            Self::Int64(out) => out.as_mut()?.finish::<Int64Type>(data_type),
            Self::UInt8(out) => out.as_mut()?.finish::<UInt8Type>(data_type),
            Self::UInt16(out) => out.as_mut()?.finish::<UInt16Type>(data_type),
            Self::UInt32(out) => out.as_mut()?.finish::<UInt32Type>(data_type),
            Self::UInt64(out) => out.as_mut()?.finish::<UInt64Type>(data_type),
            Self::Float32(out) => out.as_mut()?.finish::<Float32Type>(data_type),
            Self::Float64(out) => out.as_mut()?.finish::<Float64Type>(data_type),
            Self::Decimal(_, _, out) => out.as_mut()?.finish::<Decimal128Type>(data_type),
            Self::Date(out) => out.as_mut()?.finish::<Date32Type>(data_type),
            Self::Timestamp(_, out) => match data_type {
                DataType::Timestamp(TimeUnit::Second, _) => out.as_mut()?.finish::<TimestampSecondType>(data_type),
                DataType::Timestamp(TimeUnit::Millisecond, _) => {
                    out.as_mut()?.finish::<TimestampMillisecondType>(data_type)
                }
                DataType::Timestamp(TimeUnit::Microsecond, _) => {
                    out.as_mut()?.finish::<TimestampMicrosecondType>(data_type)
                }
                _ => out.as_mut()?.finish::<TimestampNanosecondType>(data_type),
            },
            Self::View(out) => out.as_mut()?.finish(),
            Self::Text(out) => out.as_mut()?.finish(),
            Self::LargeText(out) => out.as_mut()?.finish(),
            Self::Struct(object, rows) => {
                let rows = rows.as_mut()?;
                let DataType::Struct(fields) = data_type else { return None };
                let len = std::mem::take(&mut rows.len);
                let nulls = rows.nulls.finish(len);
                if fields.is_empty() {
                    Arc::new(StructArray::new_empty_fields(len, nulls))
                } else {
                    let columns =
                        object.fields_mut().zip(fields).map(|(field, declared)| field.finish(declared.data_type()));
                    Arc::new(StructArray::new(fields.clone(), columns.collect(), nulls))
                }
            }
            Self::List(item, lists) => {
                let lists = lists.as_mut()?;
                let DataType::List(declared) = data_type else { return None };
                let ends = take(&mut lists.ends);
                let nulls = lists.nulls.finish(ends.len());
                let offsets = OffsetBuffer::new(std::iter::once(0).chain(ends).collect());
                let items = item.finish(declared.data_type());
                Arc::new(ListArray::new(Arc::clone(declared), offsets, items, nulls))
            }
        })
    }
}

#[inline]
fn keep<T: ArrowNativeType>(parsed: Parsed<(T, usize)>, out: &mut Option<Primitives<T>>) -> Parsed {
    let (value, end) = parsed?;
    if let Some(out) = out {
        out.push(value);
    }
    Ok(end)
}

#[inline]
fn boolean(bytes: &[u8], at: usize, out: &mut Option<Bits>, scratch: &mut Vec<u8>) -> Parsed {
    let (value, end) = match bytes.get(at) {
        Some(b't') => (true, literal(bytes, at, "true")?),
        Some(b'f') => (false, literal(bytes, at, "false")?),
        _ => other_boolean(bytes, at, scratch)?,
    };
    if let Some(out) = out {
        out.push(value);
    }
    Ok(end)
}

/// The other ways in which producers write booleans: as 1 and 0, and as the texts that PostgreSQL's boolean reads.
#[cold]
fn other_boolean(bytes: &[u8], at: usize, scratch: &mut Vec<u8>) -> Parsed<(bool, usize)> {
    let (text, end) = match bytes.get(at) {
        Some(b'0' | b'1') => {
            let end = number::end(bytes, at)?;
            (&bytes[at..end], end)
        }
        _ => text::string(bytes, at, "BOOLEAN", scratch)?,
    };
    match &*text.to_ascii_lowercase() {
        b"true" | b"t" | b"yes" | b"y" | b"on" | b"1" => Ok((true, end)),
        b"false" | b"f" | b"no" | b"n" | b"off" | b"0" => Ok((false, end)),
        _ if bytes[at] == b'"' => Err(BadReason::WrongType { expected: "BOOLEAN".into(), found: "other text" }.at(at)),
        _ => Err(mismatch(bytes, at, "BOOLEAN")),
    }
}

#[inline]
fn integer<T>(bytes: &[u8], at: usize, expected: &'static str, out: &mut Option<Primitives<T>>) -> Parsed
where
    T: ArrowNativeType + TryFrom<i64> + TryFrom<i128>,
{
    keep(number::integer(bytes, at, expected), out)
}

#[inline]
fn float<T>(bytes: &[u8], at: usize, out: &mut Option<Primitives<T>>) -> Parsed
where
    T: ArrowNativeType + number::Float,
{
    match out {
        Some(_) => keep(number::float(bytes, at), out),
        None => number::check_float::<T>(bytes, at),
    }
}

/// The one type that also takes a string: producers write decimals as text so that no reader turns them into doubles.
fn decimal(
    bytes: &[u8],
    at: usize,
    (precision, scale): (u8, i8),
    out: &mut Option<Primitives<i128>>,
    scratch: &mut Vec<u8>,
) -> Parsed {
    if bytes.get(at) != Some(&b'"') {
        return keep(number::decimal(bytes, at, precision, scale), out);
    }
    let expected = || Cow::from(format!("DECIMAL({precision},{scale})"));
    let (text, end) = text::string(bytes, at, "", scratch)?;
    let not_a_number = || BadReason::WrongType { expected: expected(), found: "other text" }.at(at);
    match number::decimal(text, 0, precision, scale) {
        Ok((value, used)) if used == text.len() => keep(Ok((value, end)), out),
        Err(bad) if matches!(bad.reason, BadReason::OutOfRange { .. }) => Err(bad.reason.at(at)),
        _ => Err(not_a_number()),
    }
}

/// A number counts days since 1970-01-01.
fn date(bytes: &[u8], at: usize, out: &mut Option<Primitives<i32>>, scratch: &mut Vec<u8>) -> Parsed {
    if bytes.get(at) != Some(&b'"') {
        return integer(bytes, at, "DATE", out);
    }
    let (text, end) = text::string(bytes, at, "DATE", scratch)?;
    keep(time::date(text).map(|days| (days, end)).map_err(|reason| reason.at(at)), out)
}

/// A number counts since 1970-01-01 00:00:00 UTC.
fn timestamp(
    bytes: &[u8],
    at: usize,
    reader: &TimestampReader,
    out: &mut Option<Primitives<i64>>,
    scratch: &mut Vec<u8>,
) -> Parsed {
    if bytes.get(at) != Some(&b'"') {
        let (count, end) = number::integer(bytes, at, "TIMESTAMP")?;
        return keep(reader.number(count).map(|value| (value, end)).map_err(|reason| reason.at(at)), out);
    }
    let (text, end) = text::string(bytes, at, "TIMESTAMP", scratch)?;
    keep(reader.read(text).map(|value| (value, end)).map_err(|reason| reason.at(at)), out)
}

#[inline]
fn view(bytes: &[u8], at: usize, depth: usize, out: &mut Option<Views>, scratch: &mut Vec<u8>) -> Parsed {
    if bytes.get(at) != Some(&b'"') {
        let end = json(bytes, at, depth)?;
        if let Some(out) = out {
            out.push_range(bytes, at, end);
        }
        return Ok(end);
    }
    let start = at + 1;
    let end = plain_end(bytes, start);
    if bytes.get(end) == Some(&b'"') {
        if let Some(out) = out {
            out.push_range(bytes, start, end);
        }
        return Ok(end + 1);
    }
    let after = text::unescape(bytes, start, scratch)?;
    if let Some(out) = out {
        out.push(scratch);
    }
    Ok(after)
}

fn text<O: OffsetSizeTrait>(
    bytes: &[u8],
    at: usize,
    depth: usize,
    out: &mut Option<OffsetStrings<O>>,
    scratch: &mut Vec<u8>,
) -> Parsed {
    let (text, end) = if bytes.get(at) == Some(&b'"') {
        text::string(bytes, at, "VARCHAR", scratch)?
    } else {
        let end = json(bytes, at, depth)?;
        (&bytes[at..end], end)
    };
    if out.as_mut().is_none_or(|out| out.push(text).is_some()) {
        Ok(end)
    } else {
        Err(BadReason::OutOfRange { expected: "VARCHAR".into() }.at(at))
    }
}

/// The end of a value that is not a string, whose text is that of its JSON, as with PostgreSQL's `->>`.
#[cold]
fn json(bytes: &[u8], at: usize, depth: usize) -> Parsed {
    skip::value(bytes, at, depth)
}

fn list(
    bytes: &[u8],
    at: usize,
    depth: usize,
    item: &mut FieldDecoder,
    lists: &mut Option<Lists>,
    scratch: &mut Vec<u8>,
) -> Parsed {
    if bytes.get(at) != Some(&b'[') {
        return Err(mismatch(bytes, at, "LIST"));
    }
    if depth >= MAX_DEPTH {
        return Err(BadReason::TooDeep.at(at));
    }
    let start = at;
    let mut at = white_space(bytes, at + 1);
    let mut items = 0;
    if bytes.get(at) == Some(&b']') {
        at += 1;
    } else {
        loop {
            at = item.read(bytes, at, depth + 1, scratch).map_err(|bad| bad.within_item(items))?;
            items += 1;
            at = white_space(bytes, at);
            match bytes.get(at) {
                Some(b',') => at = white_space(bytes, at + 1),
                Some(b']') => break,
                _ => return Err(malformed(bytes, at, "`,` or `]`")),
            }
        }
        at += 1;
    }
    if let Some(lists) = lists {
        let end = i32::try_from(items).ok().and_then(|items| lists.items().checked_add(items));
        lists.ends.push(end.ok_or_else(|| BadReason::OutOfRange { expected: "LIST".into() }.at(start))?);
    }
    Ok(at)
}
