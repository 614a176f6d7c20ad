//! An object with declared fields: the record itself, and structs inside it.

use ahash::RandomState;
use datafusion::arrow::datatypes::Fields;
use hashbrown::HashMap;

use super::MAX_DEPTH;
use super::bad::{BadReason, Parsed, UnsupportedType, malformed, mismatch};
use super::column::Field;
use super::scan::{plain_end, white_space};
use super::shape::{Place, Shape, UNDECLARED};
use super::{skip, text};

/// Reads objects into its fields' columns.
#[derive(Debug)]
pub struct Object {
    fields: Vec<Member>,
    by_name: HashMap<Box<str>, Place, RandomState>,
    shape: Shape,
    /// Counts the objects, so that a field can tell whether it has been seen in this one.
    turn: u64,
}

#[derive(Debug)]
struct Member {
    name: Box<str>,
    /// The last object that had this key.
    seen: u64,
    field: Field,
}

enum Step {
    Value { place: Place, at: usize, next: usize },
    End { at: usize },
}

impl Object {
    /// The object whose fields stand inside `depth` objects and lists, itself included; those that `is_wanted` picks are built, the others only checked.
    pub fn new(declared: &Fields, depth: usize, is_wanted: impl Fn(usize) -> bool) -> Result<Self, UnsupportedType> {
        let mut fields = Vec::with_capacity(declared.len());
        let mut by_name = HashMap::with_capacity_and_hasher(declared.len(), RandomState::new());
        for (place, field) in declared.iter().enumerate() {
            by_name.insert(field.name().as_str().into(), place);
            let field_decoder = Field::new(field, depth, is_wanted(place)).map_err(|unsupported| UnsupportedType {
                column: match unsupported.column.as_str() {
                    "" => field.name().clone(),
                    inner => format!("{}.{inner}", field.name()),
                },
                ..unsupported
            })?;
            fields.push(Member { name: field.name().as_str().into(), seen: 0, field: field_decoder });
        }
        Ok(Self { shape: Shape::new(fields.len()), fields, by_name, turn: 0 })
    }

    /// The decoder of one field.
    pub fn field_mut(&mut self, place: usize) -> &mut Field {
        &mut self.fields[place].field
    }

    /// All fields' decoders, in their order.
    pub fn fields_mut(&mut self) -> impl Iterator<Item = &mut Field> {
        self.fields.iter_mut().map(|member| &mut member.field)
    }

    /// Reads the object at `at`, which stands inside `depth` others, and appends a value to every field's column.
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
            let place;
            if let Some((guessed, value)) = self.shape.guess(next, bytes, at, at == start) {
                (place, at) = (guessed, value);
                next += 1;
            } else if at > start && bytes.get(at) == Some(&b'}') {
                at += 1;
                break;
            } else {
                match self.unexpected(next, bytes, at, at == start)? {
                    Step::Value { place: found, at: value, next: then } => (place, at, next) = (found, value, then),
                    Step::End { at: end } => {
                        at = end;
                        break;
                    }
                }
            }
            // `UNDECLARED` is no index, so the bounds check tells the two apart.
            let Some(member) = self.fields.get_mut(place) else {
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
            && let Some((place, at)) = self.shape.guess(found, bytes, glue, first)
        {
            return Ok(Step::Value { place, at, next: found + 1 });
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
        let (place, after) = self.key(bytes, at + 1)?;
        let at = skip::colon(bytes, after)?;
        // The record may end here; what is learned then leads to no value, and is right all the same.
        let next = self.shape.learn(next, &bytes[glue..at], first, place);
        Ok(Step::Value { place, at, next })
    }

    /// Looks up the key whose quote stands before `at`.
    fn key(&self, bytes: &[u8], at: usize) -> Parsed<(Place, usize)> {
        let end = plain_end(bytes, at);
        if bytes.get(end) == Some(&b'"') {
            return Ok((self.place(&bytes[at..end]), end + 1));
        }
        let end = skip::string(bytes, at)?;
        // Half a surrogate pair is grammatical, and is in no declared name.
        let mut unescaped = Vec::new();
        let place = text::unescape(bytes, at, &mut unescaped).map_or(UNDECLARED, |_| self.place(&unescaped));
        Ok((place, end))
    }

    fn place(&self, name: &[u8]) -> Place {
        // Keys are looked up as bytes' text; that the record is UTF-8 has been checked, so this never fails.
        std::str::from_utf8(name).ok().and_then(|name| self.by_name.get(name)).copied().unwrap_or(UNDECLARED)
    }

    /// Appends a null to every field.
    pub fn push_null(&mut self) {
        self.fields_mut().for_each(Field::push_null);
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
