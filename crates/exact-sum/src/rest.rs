//! What does not fit in place: the full range of limbs, and the counts of NaN and infinities.

/// Bits of a limb that carry the number; the others give additions room before a carry is due.
pub(super) const LIMB_BITS: usize = 32;

/// Limbs of the full range: the bits of a double lie in 2^-1074 ≤ 2^i < 2^1024, that is 2,098 of them, and 2^63 rows of
/// weight up to 2^63 each add 126 to that. 70 limbs are 2,240 bits, and the last of them is as wide again to the sign.
pub(super) const LIMBS: usize = 70;

/// How often each of them was added, with weights: negative where more were retracted.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct NonFinite {
    pub(super) nan: i64,
    pub(super) positive: i64,
    pub(super) negative: i64,
}

impl NonFinite {
    /// Counts `weight` times the non-finite `value`. The counts wrap, so a retraction undoes an addition in any case.
    pub(super) fn add(&mut self, value: f64, weight: i64) {
        let count = if value.is_nan() {
            &mut self.nan
        } else if value > 0.0 {
            &mut self.positive
        } else {
            &mut self.negative
        };
        *count = count.wrapping_add(weight);
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.nan = self.nan.wrapping_add(other.nan);
        self.positive = self.positive.wrapping_add(other.positive);
        self.negative = self.negative.wrapping_add(other.negative);
    }

    /// The same as a retraction. Wraps as additions do.
    pub(super) fn negated(self) -> Self {
        Self {
            nan: self.nan.wrapping_neg(),
            positive: self.positive.wrapping_neg(),
            negative: self.negative.wrapping_neg(),
        }
    }

    /// The value that they give the sum, whatever else is in it; `None` when there are none. A weight is a factor: an
    /// infinity that was only retracted (half of a delta, say) counts as one of the other sign.
    pub(super) fn outcome(self) -> Option<f64> {
        let up = self.positive > 0 || self.negative < 0;
        let down = self.negative > 0 || self.positive < 0;
        if self.nan != 0 || (up && down) {
            Some(f64::NAN)
        } else if up {
            Some(f64::INFINITY)
        } else if down {
            Some(f64::NEG_INFINITY)
        } else {
            None
        }
    }
}

/// The part of an accumulator that lives on the heap.
#[derive(Clone, Default, Debug)]
pub(super) struct Rest {
    pub(super) non_finite: NonFinite,
    /// All limbs, once the window was too narrow; then the window is not used any more.
    pub(super) full: Option<Box<[i64; LIMBS]>>,
}

/// Carries, leaving every limb but the last within ±2^31. Signed remainders keep a small negative number in its low
/// limbs; with non-negative ones its sign would run through to the top.
pub(super) fn carry(limbs: &mut [i64]) {
    let mut carry = 0_i64;
    let Some((last, lower)) = limbs.split_last_mut() else {
        return;
    };
    for limb in lower {
        let total = *limb + carry;
        carry = (total + (1 << (LIMB_BITS - 1))) >> LIMB_BITS;
        *limb = total - (carry << LIMB_BITS);
    }
    *last += carry;
}
