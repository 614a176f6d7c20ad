//! An object with declared fields: the record itself, and structs inside it.

use ahash::RandomState;
use datafusion::arrow::datatypes::Fields;
use hashbrown::HashMap;

use super::MAX_DEPTH;
use super::bad::{BadReason, Parsed, UnsupportedType, malformed, mismatch};
use super::column::FieldDecoder;
use super::scan::{plain_end, white_space};
use super::shape::{FieldIndex, Shape, UNDECLARED};
use super::{skip, text};

/// Reads objects into its fields' columns.
#[derive(Debug)]
pub struct Object {
    fields: Vec<NamedField>,
    by_name: HashMap<Box<str>, FieldIndex, RandomState>,
    shape: Shape,
    /// Counts the objects, so that a field can tell whether it has been seen in this one.
    turn: u64,
}

#[derive(Debug)]
struct NamedField {
    name: Box<str>,
    /// The last object that had this key.
    seen: u64,
    field: FieldDecoder,
}

enum Step {
    Value { index: FieldIndex, at: usize, next: usize },
    End { at: usize },
}

impl Object {
    /// The object whose fields lie inside `depth` objects and lists, itself included; those that `is_wanted` picks are
    /// built, the others only checked.
    pub fn new(declared: &Fields, depth: usize, is_wanted: impl Fn(usize) -> bool) -> Result<Self, UnsupportedType> {
        let mut fields = Vec::with_capacity(declared.len());
        let mut by_name = HashMap::with_capacity_and_hasher(declared.len(), RandomState::new());
        for (index, field) in declared.iter().enumerate() {
            by_name.insert(field.name().as_str().into(), index);
            let field_decoder =
                FieldDecoder::new(field, depth, is_wanted(index)).map_err(|unsupported| UnsupportedType {
                    column: match unsupported.column.as_str() {
                        "" => field.name().clone(),
                        inner => format!("{}.{inner}", field.name()),
                    },
                    ..unsupported
                })?;
            fields.push(NamedField { name: field.name().as_str().into(), seen: 0, field: field_decoder });
        }
        Ok(Self { shape: Shape::new(fields.len()), fields, by_name, turn: 0 })
    }

    /// The decoder of one field.
    pub fn field_mut(&mut self, index: usize) -> &mut FieldDecoder {
        &mut self.fields[index].field
    }

    /// All fields' decoders, in their order.
    pub fn fields_mut(&mut self) -> impl Iterator<Item = &mut FieldDecoder> {
        self.fields.iter_mut().map(|member| &mut member.field)
    }

    /// Reads the object at `at`, which lies inside `depth` others, and appends a value to every field's column.
    pub fn read(&mut self, bytes: &[u8], start: usize, depth: usize, scratch: &mut Vec<u8>) -> Parsed {
        if depth >= MAX_DEPTH {
            return Err(BadReason::TooDeep.at(start));
        }
        self.turn += 1;
        let turn = self.turn;
        let mut fields_seen = 0;
        let mut next = 0;
        let mut at = start;
        loop {
            let glue = at;
            let index;
            if let Some((guessed, value)) = self.shape.guess(next, bytes, at, at == start) {
                (index, at) = (guessed, value);
                next += 1;
            } else if at > start && bytes.get(at) == Some(&b'}') {
                at += 1;
                break;
            } else {
                match self.unexpected(next, bytes, at, at == start)? {
                    Step::Value { index: found, at: value, next: then } => (index, at, next) = (found, value, then),
                    Step::End { at: end } => {
                        at = end;
                        break;
                    }
                }
            }
            // `UNDECLARED` is out of bounds, so the bounds check tells the two apart.
            let Some(member) = self.fields.get_mut(index) else {
                at = skip::value(bytes, at, depth + 1)?;
                continue;
            };
            if member.seen == turn {
                return Err(BadReason::DuplicateKey.at(glue).within(&member.name));
            }
            member.seen = turn;
            fields_seen += 1;
            at = match member.field.read(bytes, at, depth + 1, scratch) {
                Ok(at) => at,
                Err(bad) => return Err(bad.within(&member.name)),
            };
        }
        if fields_seen < self.fields.len() {
            self.fill_missing(turn, at)?;
        }
        Ok(at)
    }

    /// A missing key means null.
    fn fill_missing(&mut self, turn: u64, at: usize) -> Parsed<()> {
        for member in &mut self.fields {
            if member.seen != turn {
                if !member.field.is_nullable() {
                    return Err(BadReason::Null.at(at).within(&member.name));
                }
                member.field.push_null();
            }
        }
        Ok(())
    }

    /// The slow way from the end of a value (or the object's start) to the next value or the object's end.
    #[inline(never)]
    fn unexpected(&mut self, next: usize, bytes: &[u8], glue: usize, first: bool) -> Parsed<Step> {
        if let Some(found) = self.shape.search(next, bytes, glue, first)
            && let Some((index, at)) = self.shape.guess(found, bytes, glue, first)
        {
            return Ok(Step::Value { index, at, next: found + 1 });
        }
        let mut at = white_space(bytes, glue);
        match bytes.get(at) {
            Some(b'{') if first => at = white_space(bytes, at + 1),
            _ if first => return Err(mismatch(bytes, at, "STRUCT")),
            Some(b',') => at = white_space(bytes, at + 1),
            Some(b'}') => return Ok(Step::End { at: at + 1 }),
            _ => return Err(malformed(bytes, at, "`,` or `}`")),
        }
        match bytes.get(at) {
            Some(b'"') => {}
            Some(b'}') if first => return Ok(Step::End { at: at + 1 }),
            _ => return Err(malformed(bytes, at, "a key")),
        }
        let (index, after) = self.key(bytes, at + 1)?;
        let at = skip::colon(bytes, after)?;
        // The record may end here; what is learned then leads to no value, and is still correct.
        let next = self.shape.learn(next, &bytes[glue..at], first, index);
        Ok(Step::Value { index, at, next })
    }

    /// Looks up the key whose quote is before `at`.
    fn key(&self, bytes: &[u8], at: usize) -> Parsed<(FieldIndex, usize)> {
        let end = plain_end(bytes, at);
        if bytes.get(end) == Some(&b'"') {
            return Ok((self.index(&bytes[at..end]), end + 1));
        }
        let end = skip::string(bytes, at)?;
        // A lone surrogate is grammatical, and no declared name contains one.
        let mut unescaped = Vec::new();
        let index = text::unescape(bytes, at, &mut unescaped).map_or(UNDECLARED, |_| self.index(&unescaped));
        Ok((index, end))
    }

    fn index(&self, name: &[u8]) -> FieldIndex {
        // The record has been checked to be UTF-8, so this never fails.
        std::str::from_utf8(name).ok().and_then(|name| self.by_name.get(name)).copied().unwrap_or(UNDECLARED)
    }

    /// Appends a null to every field.
    pub fn push_null(&mut self) {
        self.fields_mut().for_each(FieldDecoder::push_null);
    }

    /// Cuts every field to an earlier length.
    pub fn truncate(&mut self, len: usize) {
        self.fields_mut().for_each(|field| field.truncate(len));
    }

    /// How much has been learned.
    #[cfg(test)]
    pub fn learned(&self) -> usize {
        self.shape.len()
    }
}
