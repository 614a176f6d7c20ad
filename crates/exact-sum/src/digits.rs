//! The canonical form of a number, whatever window or carries it was accumulated in.
//!
//! Sign and magnitude, the magnitude in 32-bit digits. Comparing, serialising and rounding all start here, so that none
//! of them depends on how an accumulator arrived at its number.

/// A number as `±Σ magnitude[i]·2^(32·i − 1074)`.
pub(super) struct Digits<const N: usize> {
    all: [u32; N],
    /// Place of `all[0]`.
    base: usize,
    negative: bool,
    /// The first nonzero digit and the one after the last; equal for zero.
    span: (usize, usize),
}

impl<const N: usize> Digits<N> {
    /// Propagates the carries of `limbs`. `N` is at least one more than there are limbs, and every limb is within
    /// ±(2^63 − 2^32), so that a carry always fits on top of it.
    pub(super) fn of(limbs: &[i64], base: usize) -> Self {
        debug_assert!(limbs.len() < N, "no place for the last limb's upper half");
        let mut digits = [0_u32; N];
        let mut carry = 0_i64;
        for (digit, limb) in digits.iter_mut().zip(limbs) {
            let total = limb + carry;
            *digit = total as u32;
            carry = total >> 32;
        }
        for digit in digits.iter_mut().skip(limbs.len()) {
            *digit = carry as u32;
            carry >>= 32;
        }
        // What is carried past the end is the sign: 0, or −1 for a two's complement to be undone.
        let negative = carry < 0;
        if negative {
            let mut borrow = true;
            for digit in &mut digits {
                let (flipped, overflows) = (!*digit).overflowing_add(u32::from(borrow));
                *digit = flipped;
                borrow = overflows;
            }
        }
        let first = digits.iter().position(|digit| *digit != 0).unwrap_or(N);
        let end = digits.iter().rposition(|digit| *digit != 0).map_or(N, |last| last + 1);
        Self { all: digits, base, negative, span: (first, end) }
    }

    pub(super) fn is_negative(&self) -> bool {
        self.negative
    }

    /// Place of the first digit of [`Self::magnitude`].
    pub(super) fn place(&self) -> usize {
        self.base + self.span.0
    }

    /// The digits from the lowest nonzero one to the highest; empty for zero.
    pub(super) fn magnitude(&self) -> &[u32] {
        &self.all[self.span.0..self.span.1]
    }

    /// The nearest double, ties to even.
    pub(super) fn round(&self) -> f64 {
        let magnitude = self.magnitude();
        let Some(top) = magnitude.len().checked_sub(1) else {
            return 0.0;
        };
        let highest_place = self.place() + top;
        let digit = |down: usize| top.checked_sub(down).map_or(0, |i| u128::from(magnitude[i]));
        // At least 65 significant bits: a mantissa, the bit that decides, and more. What lies below only breaks a tie.
        let head = digit(0) << 64 | digit(1) << 32 | digit(2);
        let below = top > 2;
        let length = 128 - head.leading_zeros() as usize; // of the head
        let exponent = highest_place * 32 + length - 64; // of the number, in units of 2^-1074: 2^(exponent−1) ≤ n
        let bits = if exponent <= 53 {
            // A subnormal, or in the first binade of the normal numbers: their patterns are the integers themselves. The
            // highest place is 0 or 1, so the head ends in zeros for the places that do not exist.
            (head >> (64 - 32 * highest_place)) as u64
        } else {
            let shift = exponent - 53;
            if shift > 2045 {
                f64::INFINITY.to_bits()
            } else {
                let cut = length - 53;
                let mantissa = (head >> cut) as u64;
                let rest = head & ((1_u128 << cut) - 1);
                let half = 1_u128 << (cut - 1);
                let up = rest > half || (rest == half && (below || mantissa & 1 == 1));
                // The mantissa's leading one adds the missing 1 to the exponent field, and a round-up that overflows
                // the mantissa moves on to the next exponent, at the end to infinity.
                ((shift as u64) << 52) + mantissa + u64::from(up)
            }
        };
        let value = f64::from_bits(bits);
        if self.negative { -value } else { value }
    }
}
