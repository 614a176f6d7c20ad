//! The learned shape: what stands between the values of an object.
//!
//! Records of a topic come from a few programs, so the bytes between two values (`,"name":`, white space and all) are
//! nearly always the same as in the record before. The shape remembers them, each with the field that it leads to, and
//! one memory comparison then does the work of a comma, a string, a look-up, a colon and the white space around them.
//!
//! A guess that fails costs a few more comparisons (a key left out, another program's order: both are found further on in
//! the shape), and only bytes never seen before are parsed, looked up and learned. Equal bytes at the same point of the
//! grammar mean the same, so a shape can be wrong about what comes next, but never about what it recognises.

use super::scan::{double_word, white_space};

/// A field's index in its object.
pub type FieldIndex = usize;

/// The index of an undeclared key.
pub const UNDECLARED: FieldIndex = FieldIndex::MAX;

/// Longer glue (endless white space, a very long key) is not learned: it would hold that much memory for good.
const MAX_GLUE_BYTES: usize = 256;

/// How many other slots are tried when the guess fails. More would cost more than the look-up that they save.
const MAX_TRIES: usize = 24;

/// Slots beyond the declared fields. A producer whose keys are always new would fill the shape with glue that never
/// repeats; a full shape is cleared and learned again.
const SPARE_SLOTS: usize = 64;

/// The bytes from the end of one value to the start of the next, and where that value belongs.
#[derive(Debug)]
struct Glue {
    head: u128,
    mask: u128,
    tail: Box<[u8]>,
    len: usize,
    index: FieldIndex,
    /// From the object's brace to its first value, not between two values.
    opens: bool,
}

impl Glue {
    #[inline]
    fn matches(&self, bytes: &[u8], at: usize, opens: bool) -> bool {
        self.opens == opens
            && (double_word(bytes, at) ^ self.head) & self.mask == 0
            && (self.tail.is_empty() || bytes.get(at + 16..).is_some_and(|rest| rest.starts_with(&self.tail)))
    }
}

/// The glue of the records so far, in their order.
#[derive(Debug)]
pub struct Shape {
    slots: Vec<Glue>,
    max_slots: usize,
}

impl Shape {
    /// An empty shape, for an object with this many fields.
    pub fn new(fields: usize) -> Self {
        Self { slots: Vec::new(), max_slots: 2 * fields + SPARE_SLOTS }
    }

    /// The field and the position of the next value, if the guess `slot` holds at `at`.
    #[inline]
    pub fn guess(&self, slot: usize, bytes: &[u8], at: usize, opens: bool) -> Option<(FieldIndex, usize)> {
        let slot = self.slots.get(slot)?;
        if !slot.matches(bytes, at, opens) {
            return None;
        }
        let value = at + slot.len;
        // This record may have white space where the one that was learned from had none.
        let value = if bytes.get(value).is_some_and(|&byte| byte > b' ') { value } else { white_space(bytes, value) };
        Some((slot.index, value))
    }

    /// Another slot that holds at `at`, after the failed guess `slot`: those behind it first, then those before.
    #[inline(never)]
    pub fn search(&self, slot: usize, bytes: &[u8], at: usize, opens: bool) -> Option<usize> {
        let known = self.slots.len();
        (slot + 1..known)
            .chain(0..slot.min(known))
            .take(MAX_TRIES)
            .find(|&slot| self.slots[slot].matches(bytes, at, opens))
    }

    /// Learns, in front of slot `slot`, that `glue` leads to the field `index`. Returns the slot to guess next.
    pub fn learn(&mut self, slot: usize, glue: &[u8], opens: bool, index: FieldIndex) -> usize {
        if glue.len() > MAX_GLUE_BYTES {
            return slot;
        }
        if self.slots.len() >= self.max_slots {
            self.slots.clear();
        }
        let slot = slot.min(self.slots.len());
        let head = double_word(glue, 0);
        let mask = if glue.len() < 16 { (1 << (8 * glue.len())) - 1 } else { u128::MAX };
        let tail = glue.get(16..).unwrap_or_default().into();
        self.slots.insert(slot, Glue { head, mask, tail, len: glue.len(), index, opens });
        slot + 1
    }

    /// How much has been learned.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.slots.len()
    }
}
