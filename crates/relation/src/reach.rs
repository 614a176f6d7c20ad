//! What a WHERE clause says about partitions, offsets and times: how little of a topic has to be read.
//!
//! A filter is turned, for each partition, into a [`Reach`] that holds every record which the filter could accept. It may
//! hold more, for the filter itself stays above the scan; what is not understood reaches everything.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{Between, BinaryExpr, InList};
use datafusion::logical_expr::{Expr, Operator};

/// The records of one partition that can matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reach {
    /// The first offset.
    pub first_offset: i64,
    /// The offset after the last.
    pub end_offset: i64,
    /// The earliest time, milliseconds since 1970; `i64::MIN` is any, also none at all.
    pub from_ms: i64,
}

impl Reach {
    const EVERYTHING: Self = Self { first_offset: i64::MIN, end_offset: i64::MAX, from_ms: i64::MIN };

    /// What all of `filters` can accept together; `None` where nothing of the partition can.
    pub(super) fn of(filters: &[Expr], partition: i32) -> Option<Self> {
        filters.iter().try_fold(Self::EVERYTHING, |reach, filter| reach.intersect(reach_of(filter, partition)?))
    }

    fn intersect(self, other: Self) -> Option<Self> {
        let both = Self {
            first_offset: self.first_offset.max(other.first_offset),
            end_offset: self.end_offset.min(other.end_offset),
            from_ms: self.from_ms.max(other.from_ms),
        };
        (both.first_offset < both.end_offset).then_some(both)
    }

    /// The smallest reach that holds both.
    fn hull(self, other: Self) -> Self {
        Self {
            first_offset: self.first_offset.min(other.first_offset),
            end_offset: self.end_offset.max(other.end_offset),
            from_ms: self.from_ms.min(other.from_ms),
        }
    }
}

/// Whether a filter compares what a read can profit from: partitions, offsets or times.
pub(super) fn reads_metadata(filter: &Expr) -> bool {
    let names = ["_partition", "_offset", "_timestamp"];
    filter.column_refs().iter().any(|column| names.contains(&column.name.as_str()))
}

fn reach_of(filter: &Expr, partition: i32) -> Option<Reach> {
    match filter {
        Expr::Alias(alias) => reach_of(&alias.expr, partition),
        Expr::Literal(ScalarValue::Boolean(Some(false) | None), _) => None,
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            reach_of(left, partition)?.intersect(reach_of(right, partition)?)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            match (reach_of(left, partition), reach_of(right, partition)) {
                (Some(left), Some(right)) => Some(left.hull(right)),
                (one, other) => one.or(other),
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (MetadataColumn::of(left), MetadataColumn::of(right))
        {
            (Some(column), None) => column.compare(*op, right, partition),
            (None, Some(column)) => op.swap().map_or(Some(Reach::EVERYTHING), |op| column.compare(op, left, partition)),
            _ => Some(Reach::EVERYTHING),
        },
        Expr::Between(Between { expr, negated: false, low, high }) => match MetadataColumn::of(expr) {
            Some(column) => column.compare(Operator::GtEq, low, partition)?.intersect(column.compare(
                Operator::LtEq,
                high,
                partition,
            )?),
            None => Some(Reach::EVERYTHING),
        },
        Expr::InList(InList { expr, list, negated: false }) => match MetadataColumn::of(expr) {
            Some(column) => {
                list.iter().filter_map(|value| column.compare(Operator::Eq, value, partition)).reduce(Reach::hull)
            }
            None => Some(Reach::EVERYTHING),
        },
        _ => Some(Reach::EVERYTHING),
    }
}

/// A metadata column in a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MetadataColumn {
    Partition,
    Offset,
    Timestamp,
}

impl MetadataColumn {
    /// Sees through casts that change no value, as type coercion puts them around columns.
    fn of(expr: &Expr) -> Option<Self> {
        match expr {
            Expr::Column(column) => match column.name.as_str() {
                "_partition" => Some(Self::Partition),
                "_offset" => Some(Self::Offset),
                "_timestamp" => Some(Self::Timestamp),
                _ => None,
            },
            Expr::Cast(cast) => Self::of(&cast.expr).filter(|column| column.keeps_its_value_as(cast.field.data_type())),
            _ => None,
        }
    }

    fn keeps_its_value_as(self, data_type: &DataType) -> bool {
        match self {
            Self::Partition => matches!(data_type, DataType::Int32 | DataType::Int64),
            Self::Offset => matches!(data_type, DataType::Int64),
            // Coarser units round, and other zones shift.
            Self::Timestamp => match data_type {
                DataType::Timestamp(TimeUnit::Second, _) => false,
                DataType::Timestamp(_, zone) => zone.as_deref().is_none_or(is_utc),
                _ => false,
            },
        }
    }

    fn compare(self, op: Operator, value: &Expr, partition: i32) -> Option<Reach> {
        let Expr::Literal(value, _) = value else { return Some(Reach::EVERYTHING) };
        if value.is_null() {
            // Nothing compares with null (but IS NOT DISTINCT FROM does, which is none of the operators below).
            let ordinary = matches!(op, Operator::Eq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq);
            return if ordinary { None } else { Some(Reach::EVERYTHING) };
        }
        let all = Reach::EVERYTHING;
        match self {
            Self::Partition => {
                let (Some(value), partition) = (integer(value), i64::from(partition)) else { return Some(all) };
                let holds = match op {
                    Operator::Eq => partition == value,
                    Operator::NotEq => partition != value,
                    Operator::Lt => partition < value,
                    Operator::LtEq => partition <= value,
                    Operator::Gt => partition > value,
                    Operator::GtEq => partition >= value,
                    _ => true,
                };
                holds.then_some(all)
            }
            Self::Offset => {
                let Some(value) = integer(value) else { return Some(all) };
                let after = value.saturating_add(1);
                all.intersect(match op {
                    Operator::Eq => Reach { first_offset: value, end_offset: after, ..all },
                    Operator::Lt => Reach { end_offset: value, ..all },
                    Operator::LtEq => Reach { end_offset: after, ..all },
                    Operator::Gt => Reach { first_offset: after, ..all },
                    Operator::GtEq => Reach { first_offset: value, ..all },
                    _ => all,
                })
            }
            // There is no upper end to look for: producers set the times (CreateTime), so a record of an early time may
            // come after records of later ones, and only the filter can tell.
            Self::Timestamp => Some(match (op, milliseconds(value)) {
                (Operator::Eq | Operator::Gt | Operator::GtEq, Some(from_ms)) => Reach { from_ms, ..all },
                _ => all,
            }),
        }
    }
}

fn integer(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Int8(value) => value.map(i64::from),
        ScalarValue::Int16(value) => value.map(i64::from),
        ScalarValue::Int32(value) => value.map(i64::from),
        ScalarValue::Int64(value) => *value,
        ScalarValue::UInt8(value) => value.map(i64::from),
        ScalarValue::UInt16(value) => value.map(i64::from),
        ScalarValue::UInt32(value) => value.map(i64::from),
        ScalarValue::UInt64(value) => value.and_then(|value| i64::try_from(value).ok()),
        _ => None,
    }
}

/// Rounded down, so that a bound in a finer unit reaches a millisecond too far rather than too short.
fn milliseconds(value: &ScalarValue) -> Option<i64> {
    let (value, zone, per_ms) = match value {
        ScalarValue::TimestampSecond(Some(value), zone) => (value.checked_mul(1_000)?, zone, 1),
        ScalarValue::TimestampMillisecond(Some(value), zone) => (*value, zone, 1),
        ScalarValue::TimestampMicrosecond(Some(value), zone) => (*value, zone, 1_000),
        ScalarValue::TimestampNanosecond(Some(value), zone) => (*value, zone, 1_000_000),
        _ => return None,
    };
    zone.as_deref().is_none_or(is_utc).then(|| value.div_euclid(per_ms))
}

fn is_utc(zone: &str) -> bool {
    matches!(zone, "UTC" | "utc" | "Z" | "+00:00" | "+0000" | "+00" | "Etc/UTC")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use datafusion::logical_expr::{cast, col, lit};

    use super::*;

    fn reach(filter: &Expr, partition: i32) -> Option<(i64, i64, i64)> {
        Reach::of(std::slice::from_ref(filter), partition)
            .map(|reach| (reach.first_offset, reach.end_offset, reach.from_ms))
    }

    const ALL: Option<(i64, i64, i64)> = Some((i64::MIN, i64::MAX, i64::MIN));

    #[test]
    fn offsets_become_ranges() {
        let offset = || col("_offset");
        assert_eq!(reach(&offset().gt(lit(9_i64)), 0), Some((10, i64::MAX, i64::MIN)));
        assert_eq!(reach(&lit(9_i64).gt(offset()), 0), Some((i64::MIN, 9, i64::MIN)));
        assert_eq!(reach(&offset().eq(lit(9_i64)), 0), Some((9, 10, i64::MIN)));
        assert_eq!(reach(&offset().between(lit(3_i64), lit(5_i64)), 0), Some((3, 6, i64::MIN)));
        assert_eq!(reach(&offset().gt(lit(5_i64)).and(offset().lt(lit(3_i64))), 0), None);
        assert_eq!(reach(&offset().in_list(vec![lit(4_i64), lit(8_i64)], false), 0), Some((4, 9, i64::MIN)));
        assert_eq!(reach(&offset().in_list(vec![lit(4_i64)], true), 0), ALL);
        assert_eq!(reach(&offset().gt(lit(i64::MAX)), 0), None);
        assert_eq!(reach(&offset().eq(lit(ScalarValue::Int64(None))), 0), None);
    }

    #[test]
    fn a_partition_is_in_or_out_and_carries_its_offsets_along() {
        let of =
            |partition: i32, offset: i64| col("_partition").eq(lit(partition)).and(col("_offset").gt_eq(lit(offset)));
        let either = of(0, 10).or(of(2, 20));
        assert_eq!(reach(&either, 0), Some((10, i64::MAX, i64::MIN)));
        assert_eq!(reach(&either, 1), None);
        assert_eq!(reach(&either, 2), Some((20, i64::MAX, i64::MIN)));
        assert_eq!(reach(&cast(col("_partition"), DataType::Int64).not_eq(lit(1_i64)), 1), None);
        assert_eq!(reach(&col("_partition").in_list(vec![lit(1), lit(3)], false), 2), None);
    }

    #[test]
    fn times_bound_from_below_only() {
        let at = |ns| lit(ScalarValue::TimestampNanosecond(Some(ns), None));
        let time = || cast(col("_timestamp"), DataType::Timestamp(TimeUnit::Nanosecond, None));
        assert_eq!(reach(&time().gt_eq(at(5_000_001)), 0), Some((i64::MIN, i64::MAX, 5)));
        assert_eq!(reach(&time().lt(at(5_000_000)), 0), ALL);
        let madrid = lit(ScalarValue::TimestampMillisecond(Some(5), Some("Europe/Madrid".into())));
        assert_eq!(reach(&col("_timestamp").gt(madrid), 0), ALL);
        let seconds = cast(col("_timestamp"), DataType::Timestamp(TimeUnit::Second, None));
        assert_eq!(reach(&seconds.gt_eq(lit(ScalarValue::TimestampSecond(Some(5), None))), 0), ALL);
    }

    #[test]
    fn what_is_not_understood_reaches_everything() {
        assert_eq!(reach(&!col("_offset").gt(lit(9_i64)), 0), ALL);
        assert_eq!(reach(&(col("_offset") + lit(1_i64)).gt(lit(9_i64)), 0), ALL);
        assert_eq!(reach(&col("_offset").gt(col("_partition")), 0), ALL);
        assert_eq!(reach(&col("_offset").gt(lit(9_i64)).or(col("name").eq(lit("x"))), 0), ALL);
        assert!(!reads_metadata(&col("name").eq(lit("x"))));
        assert!(reads_metadata(&col("name").eq(lit("x")).or(col("_offset").eq(lit(1_i64)))));
    }
}
