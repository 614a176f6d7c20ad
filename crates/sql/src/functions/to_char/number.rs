//! Patterns of numbers.

use datafusion::common::{Result, plan_err};

/// A pattern, parsed once for all rows that have it.
#[derive(Debug, Default)]
pub(super) struct Pattern {
    text: String,
    items: Vec<Item>,
    /// Digits before and after the decimal point.
    whole: usize,
    decimals: usize,
    /// `S` in front: the sign, also a plus, is where a minus would be.
    leading_sign: bool,
    /// Leading and trailing blanks, and trailing zeros of `9`, are left out.
    compact: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Item {
    /// A digit; as `0` it is shown where it is insignificant, too.
    Digit {
        zero: bool,
    },
    Point,
    Group,
    /// A sign in this place: `S` always, `MI` only a minus, `PL` only a plus.
    Sign {
        plus: bool,
        minus: bool,
    },
    Literal(char),
}

impl Pattern {
    /// Takes another pattern.
    pub fn set(&mut self, pattern: &str) -> Result<()> {
        if self.text == pattern && !self.items.is_empty() {
            return Ok(());
        }
        *self = Self { text: pattern.to_owned(), ..Self::default() };
        let mut rest = pattern;
        while let Some(first) = rest.chars().next() {
            let two = rest.get(..2).map(str::to_uppercase);
            let (item, used) = match (first.to_ascii_uppercase(), two.as_deref()) {
                (_, Some("FM")) => {
                    self.compact = true;
                    rest = &rest[2..];
                    continue;
                }
                (_, Some("MI")) => (Item::Sign { plus: false, minus: true }, 2),
                (_, Some("PL")) => (Item::Sign { plus: true, minus: false }, 2),
                (_, Some("SG")) => (Item::Sign { plus: true, minus: true }, 2),
                (_, Some("PR" | "TH" | "RN" | "EE")) | ('V', _) => {
                    return plan_err!("to_char: the pattern '{rest}' of a number is not supported");
                }
                ('S', _) if self.items.is_empty() && !self.leading_sign => {
                    self.leading_sign = true;
                    rest = &rest[1..];
                    continue;
                }
                ('S', _) => (Item::Sign { plus: true, minus: true }, 1),
                ('9', _) => (Item::Digit { zero: false }, 1),
                ('0', _) => (Item::Digit { zero: true }, 1),
                ('.' | 'D', _) => (Item::Point, 1),
                (',' | 'G', _) => (Item::Group, 1),
                ('L', _) => (Item::Literal(' '), 1),
                ('"', _) => {
                    let text = rest[1..].split('"').next().unwrap_or_default();
                    self.items.extend(text.chars().map(Item::Literal));
                    rest = rest.get(text.len() + 2..).unwrap_or_default();
                    continue;
                }
                _ => (Item::Literal(first), first.len_utf8()),
            };
            self.items.push(item);
            rest = &rest[used..];
        }
        let point = self.items.iter().position(|item| *item == Item::Point).unwrap_or(self.items.len());
        let digits = |items: &[Item]| items.iter().filter(|item| matches!(item, Item::Digit { .. })).count();
        self.whole = digits(&self.items[..point]);
        self.decimals = digits(&self.items[point..]);
        if self.items.is_empty() {
            self.items.push(Item::Literal(' '));
            self.compact = true;
        }
        Ok(())
    }

    /// Digits after the decimal point.
    pub fn decimals(&self) -> usize {
        self.decimals
    }

    /// Appends a decimal number's text.
    pub fn write(&self, number: &str, out: &mut String) {
        let (negative, number) = number.strip_prefix('-').map_or((false, number), |number| (true, number));
        let (whole, decimals) = rounded(number, self.decimals);
        let negative = negative && whole.bytes().chain(decimals.bytes()).any(|digit| digit != b'0');
        let whole = whole.trim_start_matches('0');
        let overflow = whole.len() > self.whole || !whole.bytes().all(|digit| digit.is_ascii_digit());
        let point = self.items.iter().position(|item| *item == Item::Point).unwrap_or(self.items.len());
        // The first place that shows a digit: the number's own first, or the pattern's first `0` before it.
        let first_zero = self.items[..point]
            .iter()
            .filter(|item| matches!(item, Item::Digit { .. }))
            .position(|item| *item == Item::Digit { zero: true })
            .unwrap_or(self.whole);
        let first_digit = self.whole.saturating_sub(whole.len()).min(first_zero);
        let no_decimals = self.decimals == 0;
        let first = if no_decimals { first_digit.min(self.whole.saturating_sub(1)) } else { first_digit };
        let last_needed = self.last_needed_decimal(&decimals, point);
        let own_sign = self.items.iter().any(|item| matches!(item, Item::Sign { .. }));
        let (mut place, mut decimal) = (0, 0);
        let mut sign_shown = own_sign;
        let mut show_sign = |out: &mut String| {
            if !sign_shown {
                match (negative, self.compact) {
                    (true, _) => out.push('-'),
                    (false, _) if self.leading_sign => out.push('+'),
                    (false, true) => {}
                    (false, false) => out.push(' '),
                }
                sign_shown = true;
            }
        };
        for (index, item) in self.items.iter().enumerate() {
            match *item {
                Item::Digit { .. } if index < point => {
                    if place < first {
                        if !self.compact {
                            out.push(' ');
                        }
                    } else {
                        show_sign(out);
                        let digit = (place + whole.len()).checked_sub(self.whole).map(|at| &whole[at..=at]);
                        out.push_str(if overflow { "#" } else { digit.unwrap_or("0") });
                    }
                    place += 1;
                }
                Item::Digit { .. } => {
                    show_sign(out);
                    if decimal < last_needed {
                        out.push_str(if overflow { "#" } else { &decimals[decimal..=decimal] });
                    }
                    decimal += 1;
                }
                Item::Point => {
                    show_sign(out);
                    out.push('.');
                }
                Item::Group if place > first => out.push(','),
                Item::Group if self.compact => {}
                Item::Group => out.push(' '),
                Item::Sign { plus, minus } => match (negative, plus, minus) {
                    (true, _, true) => out.push('-'),
                    (false, true, _) => out.push('+'),
                    _ if self.compact => {}
                    _ => out.push(' '),
                },
                Item::Literal(c) => out.push(c),
            }
        }
    }

    /// How many decimals are shown: all, or under `FM` up to the last one that is not a zero or stands for a `0`.
    fn last_needed_decimal(&self, decimals: &str, point: usize) -> usize {
        if !self.compact {
            return self.decimals;
        }
        let forced = self.items[point..]
            .iter()
            .filter(|item| matches!(item, Item::Digit { .. }))
            .enumerate()
            .filter(|(_, item)| **item == Item::Digit { zero: true })
            .map(|(index, _)| index + 1)
            .last()
            .unwrap_or(0);
        decimals.trim_end_matches('0').len().max(forced)
    }
}

/// The digits before and after the point, rounded half away from zero.
fn rounded(number: &str, decimals: usize) -> (String, String) {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut digits: Vec<u8> =
        whole.bytes().chain(fraction.bytes().chain(std::iter::repeat(b'0')).take(decimals)).collect();
    if fraction.as_bytes().get(decimals).is_some_and(|next| *next >= b'5') {
        let mut at = digits.len();
        loop {
            if at == 0 {
                digits.insert(0, b'1');
                break;
            }
            at -= 1;
            if digits[at] == b'9' {
                digits[at] = b'0';
            } else {
                digits[at] += 1;
                break;
            }
        }
    }
    let fraction = digits.split_off(digits.len() - decimals);
    (String::from_utf8_lossy(&digits).into_owned(), String::from_utf8_lossy(&fraction).into_owned())
}
