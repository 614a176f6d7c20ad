//! The accumulator: a window of limbs in place, the full range behind it.

use std::fmt;

use super::bytes::{self, InvalidState, SumState};
use super::digits::Digits;
use super::rest::{LIMB_BITS, LIMBS, NonFinite, Rest, carry};

/// Limbs in place. An addition touches two neighbours, so values of 2^96 between them share a window.
const WINDOW: usize = 4;

type FullDigits = Digits<{ LIMBS + 1 }>;
type WindowDigits = Digits<{ WINDOW + 1 }>;

/// Places of a window for an addition's lower limb.
const LAST_OFFSET: usize = WINDOW - 2;

/// The highest window: a lower limb at place 63 is never in it, neither the doubles past 2^994 nor the infinities and
/// NaN, whose exponent also leads there. That spares the hot path a test for them.
const LAST_BASE: usize = 60;

/// `base` of an accumulator without a window: it holds nothing yet, or its limbs are on the heap. No place is near it.
const NO_WINDOW: u8 = u8::MAX;

/// A bound for every limb after carrying: the lower ones are within ±2^31 then, the last is checked against it.
const CARRIED: i64 = 1 << 61;

/// Additions between two carries. Each adds less than 2^52 to a limb (see [`Parts`]), so limbs stay within
/// 2^61 + 2^10·2^52 < 2^63 − 2^32, where no addition and no carry can overflow.
const ROOM: u16 = 1 << 10;

/// A sum of doubles, exact until [`value`](Self::value) rounds it.
///
/// 48 bytes for values of similar size, about 600 more on the heap from when they differ by more than 2^96 (or by less,
/// where they straddle a window), or when there is a NaN or an infinity among them.
///
/// # Contract
///
/// Two accumulators that were given the same values with the same total weights are equal, give the same
/// [`value`](Self::value) and the same [bytes](Self::write_bytes), whatever the order, the split and the retractions.
#[derive(Clone)]
pub struct ExactSum {
    /// Places `base..base + 4`.
    limbs: [i64; WINDOW],
    rest: Option<Box<Rest>>,
    /// Additions since the last carry, at most [`ROOM`].
    pending: u16,
    base: u8,
}

/// A finite double's magnitude as `low + high·2^32` at a place: `low < 2^32`, and `high < 2^52`, since a mantissa of 53
/// bits is shifted up by at most 31 first.
struct Parts {
    place: usize,
    low: i64,
    high: i64,
}

impl Parts {
    /// Of the bits of a normal number. Zero, subnormals, infinities and NaN give a place outside of every window.
    #[inline]
    fn of(bits: u64) -> Self {
        let exponent = (((bits >> 52) & 0x7ff) as u32).wrapping_sub(1);
        let shift = exponent % LIMB_BITS as u32;
        let mantissa = (bits & ((1 << 52) - 1)) | 1 << 52;
        let low = i64::from((mantissa << shift) as u32);
        let high = (mantissa >> (LIMB_BITS as u32 - shift)) as i64;
        let sign = bits as i64 >> 63; // 0 or −1: (n ^ sign) − sign negates or does not
        Self { place: (exponent / LIMB_BITS as u32) as usize, low: (low ^ sign) - sign, high: (high ^ sign) - sign }
    }
}

impl Default for ExactSum {
    fn default() -> Self {
        Self::new()
    }
}

impl ExactSum {
    /// The sum of nothing: zero.
    pub const fn new() -> Self {
        Self { limbs: [0; WINDOW], rest: None, pending: 0, base: NO_WINDOW }
    }

    /// Adds a value.
    #[inline]
    pub fn add(&mut self, value: f64) {
        if !self.add_in_window(value.to_bits()) {
            self.add_outside(value, 1);
        }
    }

    /// Retracts a value that was added before (or will be: weights below zero are fine on the way).
    #[inline]
    pub fn retract(&mut self, value: f64) {
        if !self.add_in_window(value.to_bits() ^ 1 << 63) {
            self.add_outside(value, -1);
        }
    }

    /// Adds a value `weight` times: the exact product. Nothing at all for a weight of 0, NaN included.
    #[inline]
    pub fn add_weighted(&mut self, value: f64, weight: i64) {
        match weight {
            1 => self.add(value),
            -1 => self.retract(value),
            _ => self.add_outside(value, weight),
        }
    }

    /// Adds what another accumulator holds.
    pub fn merge(&mut self, other: &Self) {
        if let Some(rest) = &other.rest {
            self.merge_non_finite(rest.non_finite);
            if let Some(full) = &rest.full {
                return self.add_number(&FullDigits::of(full.as_slice(), 0));
            }
        }
        if other.base != NO_WINDOW {
            self.add_number(&other.window_digits());
        }
    }

    /// Adds a state that an accumulator [wrote](Self::write_bytes); nothing is added when the bytes are not such a state.
    pub fn merge_bytes(&mut self, bytes: &[u8]) -> Result<(), InvalidState> {
        let state = SumState::read(bytes)?;
        self.merge_non_finite(state.non_finite);
        state.with_digits(|place, digits, negative| self.add_digits(place, digits, negative));
        Ok(())
    }

    /// Reads an accumulator back.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidState> {
        let mut sum = Self::new();
        sum.merge_bytes(bytes)?;
        Ok(sum)
    }

    /// Appends the state to `out`: nothing for zero, some 14 bytes for the sum of values of similar size, at most 312.
    /// Equal sums give equal bytes.
    pub fn write_bytes(&self, out: &mut Vec<u8>) {
        match self.full() {
            Some(full) => bytes::write(out, self.non_finite(), &FullDigits::of(full, 0)),
            None => bytes::write(out, self.non_finite(), &self.window_digits()),
        }
    }

    /// The sum as the nearest double, ties to even; see the [module](super) for what is not finite, and for zero.
    pub fn value(&self) -> f64 {
        if let Some(outcome) = self.non_finite().outcome() {
            return outcome;
        }
        match self.full() {
            Some(full) => FullDigits::of(full, 0).round(),
            None => self.window_digits().round(),
        }
    }

    /// Bytes held outside of the struct itself.
    pub fn heap_bytes(&self) -> usize {
        self.rest
            .as_ref()
            .map_or(0, |rest| size_of::<Rest>() + if rest.full.is_some() { size_of::<[i64; LIMBS]>() } else { 0 })
    }

    /// Adds two limbs where they fall into the window; `false` when they do not, or when a carry is due.
    #[inline]
    fn add_in_window(&mut self, bits: u64) -> bool {
        let parts = Parts::of(bits);
        let offset = parts.place.wrapping_sub(usize::from(self.base));
        let fits = offset <= LAST_OFFSET && self.pending < ROOM;
        if fits {
            self.limbs[offset] += parts.low;
            self.limbs[offset + 1] += parts.high;
            self.pending += 1;
        }
        fits
    }

    /// Everything that the window cannot take as it is.
    #[inline(never)]
    fn add_outside(&mut self, value: f64, weight: i64) {
        if weight == 0 || value == 0.0 {
            return;
        }
        if !value.is_finite() {
            self.rest.get_or_insert_default().non_finite.add(value, weight);
            return;
        }
        let bits = value.to_bits();
        if weight.unsigned_abs() == 1 && value.is_normal() && self.full().is_none() {
            let signed = if weight < 0 { bits ^ 1 << 63 } else { bits };
            self.settle();
            let place = Parts::of(bits).place;
            // Asking for both limbs that an addition touches makes the window fit for the values that come next.
            if self.add_in_window(signed) || (self.place_window(place, place + 1) && self.add_in_window(signed)) {
                return;
            }
        }
        let field = (bits >> 52) as usize & 0x7ff;
        let (exponent, leading) = if field == 0 { (0, 0) } else { (field - 1, 1_u64 << 52) };
        let shift = exponent % LIMB_BITS;
        let mantissa = (bits & ((1 << 52) - 1)) | leading;
        // 53 and 64 bits make 117; shifting up would pass 128, so the lowest digit is taken apart from the others.
        let product = u128::from(mantissa) * u128::from(weight.unsigned_abs());
        let high = product >> (LIMB_BITS - shift);
        let digits =
            [(product << shift) as u32, high as u32, (high >> 32) as u32, (high >> 64) as u32, (high >> 96) as u32];
        self.add_digits(exponent / LIMB_BITS, &digits, value.is_sign_negative() != (weight < 0));
    }

    fn add_number<const N: usize>(&mut self, number: &Digits<N>) {
        self.add_digits(number.place(), number.magnitude(), number.is_negative());
    }

    /// Adds `±Σ digits[i]·2^(32·(place + i) − 1074)`.
    fn add_digits(&mut self, place: usize, digits: &[u32], negative: bool) {
        let Some(first) = digits.iter().position(|digit| *digit != 0) else {
            return;
        };
        let last = digits.iter().rposition(|digit| *digit != 0).unwrap_or(first);
        let (low, high) = (place + first, place + last);
        self.settle();
        let base = usize::from(self.base);
        let in_window = self.base != NO_WINDOW && low >= base && high < base + WINDOW;
        let limbs = if in_window || self.place_window(low, high) {
            &mut self.limbs[low - usize::from(self.base)..]
        } else {
            &mut self.widen()[low..]
        };
        for (limb, digit) in limbs.iter_mut().zip(&digits[first..=last]) {
            *limb += if negative { -i64::from(*digit) } else { i64::from(*digit) };
        }
        self.pending += 1;
    }

    fn merge_non_finite(&mut self, other: NonFinite) {
        if other != NonFinite::default() {
            self.rest.get_or_insert_default().non_finite.merge(other);
        }
    }

    /// Makes room for one more addition.
    fn settle(&mut self) {
        if self.pending >= ROOM {
            self.carry();
        }
    }

    /// Carries; a window whose last limb is then past its bound moves up if it can, and is replaced by the full range if
    /// it cannot.
    fn carry(&mut self) {
        self.pending = 0;
        if let Some(full) = self.rest.as_mut().and_then(|rest| rest.full.as_mut()) {
            return carry(full.as_mut_slice());
        }
        carry(&mut self.limbs);
        if self.limbs[WINDOW - 1].abs() > CARRIED {
            if self.limbs[0] == 0 && usize::from(self.base) < LAST_BASE {
                self.limbs.copy_within(1.., 0);
                self.limbs[WINDOW - 1] = 0;
                self.base += 1;
                carry(&mut self.limbs);
            } else {
                self.widen();
            }
        }
    }

    /// Moves the window so that it holds the places `low..=high` besides what is in it; `false` when it cannot, or when
    /// the full range has replaced it.
    fn place_window(&mut self, mut low: usize, mut high: usize) -> bool {
        if self.full().is_some() {
            return false;
        }
        let mut held = [0; WINDOW];
        let mut held_base = low;
        if self.base != NO_WINDOW {
            self.carry();
            if self.base == NO_WINDOW {
                return false;
            }
            held = self.limbs;
            held_base = usize::from(self.base);
            if let (Some(first), Some(mut last)) =
                (held.iter().position(|limb| *limb != 0), held.iter().rposition(|limb| *limb != 0))
            {
                low = low.min(held_base + first);
                // A limb holds 61 bits: a small highest one is folded into the one below it if that makes room.
                let too_wide = held_base + last >= low + WINDOW && held_base + last > high;
                if too_wide && last > first && held[last].abs() < CARRIED >> (LIMB_BITS + 1) {
                    held[last - 1] += held[last] << LIMB_BITS;
                    held[last] = 0;
                    last -= 1;
                }
                high = high.max(held_base + last);
            }
        }
        let lowest = high.saturating_sub(WINDOW - 1);
        let highest = low.min(LAST_BASE);
        if lowest > highest {
            return false;
        }
        // In the middle of what is possible: the next value may be smaller as well as larger.
        let base = usize::midpoint(lowest, highest);
        self.limbs = [0; WINDOW];
        for (i, limb) in held.into_iter().enumerate().filter(|(_, limb)| *limb != 0) {
            self.limbs[held_base + i - base] = limb;
        }
        self.base = base as u8;
        true
    }

    /// The limbs of the full range, from now on if not before.
    fn widen(&mut self) -> &mut [i64; LIMBS] {
        let (limbs, base) = (std::mem::take(&mut self.limbs), usize::from(self.base));
        let placed = std::mem::replace(&mut self.base, NO_WINDOW) != NO_WINDOW;
        let rest = self.rest.get_or_insert_default();
        rest.full.get_or_insert_with(|| {
            let mut full = Box::new([0; LIMBS]);
            if placed {
                full[base..base + WINDOW].copy_from_slice(&limbs);
            }
            full
        })
    }

    fn full(&self) -> Option<&[i64]> {
        Some(self.rest.as_ref()?.full.as_ref()?.as_slice())
    }

    fn non_finite(&self) -> NonFinite {
        self.rest.as_ref().map(|rest| rest.non_finite).unwrap_or_default()
    }

    fn window_digits(&self) -> WindowDigits {
        // Without a window all limbs are zero, wherever they are taken to be.
        WindowDigits::of(&self.limbs, if self.base == NO_WINDOW { 0 } else { usize::from(self.base) })
    }
}

impl PartialEq for ExactSum {
    fn eq(&self, other: &Self) -> bool {
        let (mut mine, mut theirs) = (Vec::new(), Vec::new());
        self.write_bytes(&mut mine);
        other.write_bytes(&mut theirs);
        mine == theirs
    }
}

impl Eq for ExactSum {}

impl fmt::Debug for ExactSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExactSum({:?})", self.value())
    }
}
