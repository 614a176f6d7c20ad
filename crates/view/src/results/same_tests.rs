//! One meaning of "the same rows": digests are equal exactly where the difference is empty, and that is where a user reads
//! the same, however rows are ordered, cut into batches and stored.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, DictionaryArray, Float64Array, Int32Array, LargeListArray, LargeStringArray, ListArray,
    RecordBatch, StringArray, StringViewArray, StructArray,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{Field, Fields, Int32Type};
use proptest::prelude::*;
use proptest::sample::Index;

use super::{Difference, Digest};

/// A value of each type, from few, so that equal rows are common.
type Values = (Option<f64>, Option<&'static str>);

/// A number, a text, and a list of structs of both.
#[derive(Debug, Clone)]
struct Row {
    plain: Values,
    list: Option<Vec<Values>>,
}

/// How a batch keeps its values.
#[derive(Debug, Clone, Copy)]
struct Storage {
    text: usize,
    dictionary: bool,
    large_list: bool,
}

fn values() -> impl Strategy<Value = Values> {
    let nan = f64::NAN.to_bits();
    let numbers = [0.0, -0.0, 1.5, f64::NAN, -f64::NAN, f64::from_bits(nan | 7)].map(Some);
    let numbers = prop::sample::select([numbers.as_slice(), &[None]].concat());
    (numbers, prop::sample::select(vec![None, Some(""), Some("a"), Some("a text too long to stand inside of a view")]))
}

fn row() -> impl Strategy<Value = Row> {
    (values(), prop::option::of(prop::collection::vec(values(), 0..3))).prop_map(|(plain, list)| Row { plain, list })
}

fn storage() -> impl Strategy<Value = Storage> {
    let parts = (0..4_usize, any::<bool>(), any::<bool>());
    parts.prop_map(|(text, dictionary, large_list)| Storage { text, dictionary, large_list })
}

/// What a user reads, row by row, in no order.
fn read(rows: &[Row]) -> Vec<String> {
    let mut read: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
    read.sort();
    read
}

fn columns(values: &[Values], storage: Storage) -> [ArrayRef; 2] {
    let numbers: ArrayRef = Arc::new(values.iter().map(|(number, _)| *number).collect::<Float64Array>());
    let texts = values.iter().map(|(_, text)| *text);
    let dictionary = |values: ArrayRef| -> ArrayRef {
        let keys = Int32Array::from_iter_values(0..i32::try_from(values.len()).unwrap());
        Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values).unwrap())
    };
    let texts: ArrayRef = match storage.text {
        0 => Arc::new(texts.collect::<StringArray>()),
        1 => Arc::new(texts.collect::<LargeStringArray>()),
        2 => Arc::new(texts.collect::<StringViewArray>()),
        _ => Arc::new(texts.collect::<DictionaryArray<Int32Type>>()),
    };
    [if storage.dictionary { dictionary(numbers) } else { numbers }, texts]
}

fn batch(rows: &[Row], storage: Storage) -> RecordBatch {
    let [numbers, texts] = columns(&rows.iter().map(|row| row.plain).collect::<Vec<_>>(), storage);
    let lists = rows.iter().map(|row| row.list.as_deref().unwrap_or_default());
    let [x, t] = columns(&lists.clone().flatten().copied().collect::<Vec<_>>(), storage);
    let field = |name: &str, array: &ArrayRef| Field::new(name, array.data_type().clone(), true);
    let structs = StructArray::new(Fields::from(vec![field("x", &x), field("t", &t)]), vec![x, t], None);
    let item = Arc::new(Field::new("item", structs.data_type().clone(), true));
    let nulls = Some(rows.iter().map(|row| row.list.is_some()).collect::<NullBuffer>());
    let list: ArrayRef = if storage.large_list {
        let offsets = OffsetBuffer::from_lengths(lists.map(<[Values]>::len));
        Arc::new(LargeListArray::new(item, offsets, Arc::new(structs), nulls))
    } else {
        let offsets = OffsetBuffer::from_lengths(lists.map(<[Values]>::len));
        Arc::new(ListArray::new(item, offsets, Arc::new(structs), nulls))
    };
    RecordBatch::try_from_iter_with_nullable([("x", numbers, true), ("t", texts, true), ("list", list, true)]).unwrap()
}

/// The rows in two batches, each stored in its own way.
fn cut(rows: &[Row], at: Index, storages: [Storage; 2]) -> Vec<RecordBatch> {
    let (head, tail) = rows.split_at(at.index(rows.len() + 1));
    vec![batch(head, storages[0]), batch(tail, storages[1])]
}

proptest! {
    #[test]
    fn digests_are_equal_exactly_where_the_difference_is_empty(
        (old, new) in prop::collection::vec(row(), 0..6).prop_flat_map(|rows| {
            let shuffled = Just(rows.clone()).prop_shuffle();
            let nearly = (Just(rows.clone()).prop_shuffle(), row()).prop_map(|(mut rows, row)| {
                rows.pop();
                rows.push(row);
                rows
            });
            (Just(rows), prop_oneof![shuffled, nearly, prop::collection::vec(row(), 0..6)])
        }),
        cuts in any::<(Index, Index)>(),
        storages in [[storage(), storage()], [storage(), storage()]],
    ) {
        let (read_alike, old_rows, new_rows) = (read(&old) == read(&new), old.len(), new.len());
        let (old, new) = (cut(&old, cuts.0, storages[0]), cut(&new, cuts.1, storages[1]));
        let (old_schema, new_schema) = (old[0].schema(), new[1].schema());
        let found = Difference::between((&old_schema, &old), (&new_schema, &new)).unwrap();
        let digests = (Digest::of(&old_schema, &old).unwrap(), Digest::of(&new_schema, &new).unwrap());
        prop_assert_eq!(digests.0 == digests.1, read_alike);
        prop_assert_eq!(found.is_empty(), read_alike);
        let counts = found.counts().unwrap();
        prop_assert_eq!(old_rows + counts.added, new_rows + counts.removed);
    }

    #[test]
    fn names_and_types_of_columns_count_where_no_row_does(name in "[ab]", other in "[ab]", double: bool) {
        let empty = |name: &str, double: bool| {
            let column: ArrayRef =
                if double { Arc::new(Float64Array::from(vec![0.0; 0])) } else { Arc::new(Int32Array::from(vec![0; 0])) };
            RecordBatch::try_from_iter([(name, column)]).unwrap()
        };
        let (old, new) = (empty(&name, true), empty(&other, double));
        let found = Difference::between((&old.schema(), &[]), (&new.schema(), &[])).unwrap();
        let digest = |batch: &RecordBatch| Digest::of(&batch.schema(), &[]).unwrap();
        prop_assert_eq!(found.is_empty(), name == other && double);
        prop_assert_eq!(digest(&old) == digest(&new), name == other && double);
    }
}
