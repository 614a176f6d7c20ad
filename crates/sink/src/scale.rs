//! Axes: round numbers around values, the steps between them, and their labels.

use std::cmp::Ordering;

use super::cells::{group_digits, show_double};

const MINUTE_MS: f64 = 60_000.0;

/// The smallest and the largest value, moved apart where they are equal.
pub fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    match low.partial_cmp(&high)? {
        Ordering::Less => Some((low, high)),
        // Far enough to be different doubles.
        Ordering::Equal => {
            let room = (low.abs() / 2.0).max(0.5);
            Some(((low - room).max(f64::MIN), (low + room).min(f64::MAX)))
        }
        Ordering::Greater => None,
    }
}

/// Where between both ends the value lies, 0 to 1.
pub fn share(value: f64, (low, high): (f64, f64)) -> f64 {
    // Halves, because the difference of two doubles may not be a finite double.
    let share = (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0);
    if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.5 }
}

/// Round numbers around the values, and the step between them: at most about `most` of them, and whole where all values
/// are. Counts start at zero, unless that would flatten them.
pub fn scale((low, high): (f64, f64), from_zero: bool, most: f64, whole: bool) -> ((f64, f64), f64) {
    let low = if from_zero && low >= 0.0 && low < high * 0.7 { 0.0 } else { low };
    let step = round_up(high / most - low / most);
    let step = if whole { step.max(1.0) } else { step };
    let round = ((low / step).floor() * step, (high / step).ceil() * step);
    if round.0.is_finite() && round.1.is_finite() && round.0 < round.1 {
        (round, step)
    } else {
        // At the ends of the doubles there are no round numbers.
        ((low, high), high / most - low / most)
    }
}

/// The next of 1, 2, 5, 10, 20, 50 …
pub(crate) fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.abs().max(f64::MIN_POSITIVE).log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|factor| factor * power).find(|round| *round >= value).unwrap_or(10.0 * power)
}

/// Round values from end to end, at most about `most` of them; whole numbers where all values are.
pub fn ticks((low, high): (f64, f64), most: usize, whole: bool) -> Vec<f64> {
    let step = round_up((high / 2.0 - low / 2.0) / most.max(1) as f64 * 2.0);
    let step = if whole { step.max(1.0) } else { step };
    multiples((low, high), step)
}

/// Ticks of one axis at most, whatever its ends are.
const MAX_TICKS: usize = 40;

/// The multiples of a step from end to end.
pub fn multiples((low, high): (f64, f64), step: f64) -> Vec<f64> {
    let first = (low / step - 1e-9).ceil();
    let ticks = (0..MAX_TICKS).map(|number| (first + number as f64) * step);
    // Adding nothing makes a negative zero positive.
    ticks
        .take_while(|tick| *tick <= high + step * 1e-9)
        .filter(|tick| tick.is_finite())
        .map(|tick| tick + 0.0)
        .collect()
}

/// Round moments of a clock or a calendar, in milliseconds since 1970 (UTC), with their labels.
pub(crate) fn time_ticks((low, high): (f64, f64), most: usize) -> Vec<(f64, String)> {
    const SECOND: f64 = 1000.0;
    const HOUR: f64 = 3_600_000.0;
    const DAY: f64 = 24.0 * HOUR;
    const STEPS: [f64; 23] = [
        SECOND,
        2.0 * SECOND,
        5.0 * SECOND,
        10.0 * SECOND,
        15.0 * SECOND,
        30.0 * SECOND,
        MINUTE_MS,
        2.0 * MINUTE_MS,
        5.0 * MINUTE_MS,
        10.0 * MINUTE_MS,
        15.0 * MINUTE_MS,
        30.0 * MINUTE_MS,
        HOUR,
        2.0 * HOUR,
        3.0 * HOUR,
        6.0 * HOUR,
        12.0 * HOUR,
        DAY,
        2.0 * DAY,
        5.0 * DAY,
        10.0 * DAY,
        14.0 * DAY,
        21.0 * DAY,
    ];
    let per_tick = (high - low) / most.max(1) as f64;
    let Some(step) = STEPS.into_iter().find(|step| *step >= per_tick) else { return month_ticks((low, high), most) };
    let show = |ms: f64| {
        let pattern = match step {
            step if step < MINUTE_MS => "%H:%M:%S",
            step if step < DAY && ms.rem_euclid(DAY) != 0.0 => "%H:%M",
            _ => "%-d %b",
        };
        moment(ms, pattern)
    };
    multiples((low, high), step).into_iter().filter_map(|ms| Some((ms, show(ms)?))).collect()
}

fn month_ticks((low, high): (f64, f64), most: usize) -> Vec<(f64, String)> {
    const MONTH_MS: f64 = 30.44 * 24.0 * 3_600_000.0;
    let per_tick = (high - low) / MONTH_MS / most.max(1) as f64;
    let months = [1.0, 2.0, 3.0, 6.0, 12.0].into_iter().find(|months| *months >= per_tick);
    let months = months.unwrap_or_else(|| round_up(per_tick / 12.0) * 12.0);
    let number = |ms: f64| {
        let day = jiff::Timestamp::from_millisecond(ms as i64).ok()?.to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
        Some(f64::from(day.year()) * 12.0 + f64::from(day.month()) - 1.0)
    };
    // Years outside of any calendar.
    let (Some(first), Some(last)) = (number(low), number(high)) else { return Vec::new() };
    let start = |month: f64| {
        let (year, month) = ((month / 12.0).floor() as i16, month.rem_euclid(12.0) as i8 + 1);
        let day = jiff::civil::Date::new(year, month, 1).ok()?;
        Some(day.to_zoned_datetime(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond() as f64)
    };
    let pattern = if months >= 12.0 { "%Y" } else { "%b %Y" };
    let moments = multiples((first, last), months).into_iter().filter_map(start).filter(|ms| (low..=high).contains(ms));
    moments.filter_map(|ms| Some((ms, moment(ms, pattern)?))).collect()
}

fn moment(ms: f64, pattern: &str) -> Option<String> {
    Some(jiff::Timestamp::from_millisecond(ms as i64).ok()?.strftime(pattern).to_string())
}

/// How many decimals distinguish values that are this far apart.
pub fn decimals_of(step: f64) -> usize {
    (-step.abs().log10().floor()).clamp(0.0, 6.0) as usize
}

/// A number for a tick: 12k, 1.5M, 0.25; so many decimals below a thousand.
pub(crate) fn show_tick(value: f64, decimals: usize) -> String {
    match value.abs() {
        size if (1e4..1e6).contains(&size) => trim_zeros(&format!("{:.2}", value / 1e3)) + "k",
        size if size > 0.0 && size < 1e-6 => format!("{value:.1e}"),
        _ => show_short(value, decimals),
    }
}

/// A number for an axis: 1.5M rather than 1,500,000.
pub(crate) fn show_short(value: f64, decimals: usize) -> String {
    for (size, unit) in [(1e12, "T"), (1e9, "G"), (1e6, "M")] {
        if value.abs() >= size && value.abs() < 1e15 {
            return trim_zeros(&format!("{:.2}", value / size)) + unit;
        }
    }
    let text = show_double(value, decimals);
    if decimals > 0 { trim_zeros(&text) } else { group_digits(&text) }
}

fn trim_zeros(number: &str) -> String {
    if number.contains('e') || !number.contains('.') {
        return number.to_owned();
    }
    number.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Milliseconds since 1970 as a moment in UTC, as exact as the span of the axis requires.
pub(crate) fn show_instant(ms: f64, span_ms: f64) -> String {
    let format = match span_ms {
        span if span < 10.0 * MINUTE_MS => "%H:%M:%S",
        span if span < 2.0 * 24.0 * 60.0 * MINUTE_MS => "%H:%M",
        span if span < 400.0 * 24.0 * 60.0 * MINUTE_MS => "%d %b",
        _ => "%Y-%m",
    };
    jiff::Timestamp::from_millisecond(ms as i64)
        .map_or_else(|_| show_short(ms, 0), |moment| moment.strftime(format).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_round_and_hold_the_values() {
        assert_eq!(scale((3.0, 97.0), true, 4.0, false), ((0.0, 100.0), 50.0));
        assert_eq!(scale((90.0, 97.0), true, 4.0, false), ((90.0, 98.0), 2.0));
        assert_eq!(scale((-3.0, 4.0), true, 4.0, false), ((-4.0, 4.0), 2.0));
        assert_eq!([0.7, 1.0, 13.0].map(|value| round_up(value).to_string()), ["1", "1", "20"]);
    }

    #[test]
    fn ticks_are_round_and_whole_where_the_values_are() {
        assert_eq!(ticks((0.0, 97.0), 5, true), [0.0, 20.0, 40.0, 60.0, 80.0]);
        assert_eq!(ticks((0.0, 2.0), 5, true), [0.0, 1.0, 2.0]);
        assert_eq!(ticks((-1.0, 1.0), 4, false), [-1.0, -0.5, 0.0, 0.5, 1.0]);
        for ends in [(f64::MIN, f64::MAX), (0.0, 1e-320), (1e300, 1e301), (5.0, 5.0)] {
            let ticks = ticks(ends, 5, false);
            assert!(ticks.len() <= MAX_TICKS && ticks.iter().all(|tick| tick.is_finite()), "{ends:?} {ticks:?}");
        }
        assert_eq!([0.25, 12_000.0, 1_500_000.0, 7.0].map(|tick| show_tick(tick, 2)), ["0.25", "12k", "1.5M", "7"]);
    }

    #[test]
    fn moments_are_round_on_the_clock_and_in_the_calendar() {
        const NOON: f64 = 1_767_268_800_000.0; // 2026-01-01T12:00:00Z
        const DAY: f64 = 86_400_000.0;
        let labels = |from: f64, to: f64, most| {
            time_ticks((from, to), most).into_iter().map(|(_, word)| word).collect::<Vec<_>>()
        };
        assert_eq!(labels(NOON + 1.0, NOON + 3_600_000.0, 4), ["12:15", "12:30", "12:45", "13:00"]);
        assert_eq!(labels(NOON, NOON + 20_000.0, 4), ["12:00:00", "12:00:05", "12:00:10", "12:00:15", "12:00:20"]);
        assert_eq!(labels(NOON, NOON + DAY, 2), ["12:00", "2 Jan", "12:00"]);
        assert_eq!(labels(NOON, NOON + 400.0 * DAY, 4), ["Jul 2026", "Jan 2027"]);
        assert_eq!(labels(NOON, NOON + 4000.0 * DAY, 6), ["2028", "2030", "2032", "2034", "2036"]);
        assert!(labels(-1e300, 1e300, 5).is_empty());
    }

    #[test]
    fn axis_labels_are_short() {
        assert_eq!(show_short(1_500_000.0, 0), "1.5M");
        assert_eq!(show_short(12_000.0, 0), "12,000");
        assert_eq!(show_short(0.25, 2), "0.25");
        assert_eq!(show_short(f64::MAX, 0), "1.798e308");
        assert_eq!(show_instant(1_767_225_600_000.0, 1000.0), "00:00:00");
        assert_eq!(show_instant(f64::MAX, 1000.0), "1.798e308");
    }

    #[test]
    fn one_value_and_extreme_values_still_have_a_span() {
        for values in [vec![5.0], vec![f64::MIN, f64::MAX], vec![0.0, 1e-320], vec![f64::MAX], vec![f64::MIN]] {
            let ends = bounds(values.into_iter()).unwrap_or_default();
            let ((low, high), step) = scale(ends, true, 4.0, false);
            assert!(low < high && low.is_finite() && high.is_finite() && step.is_finite(), "{low} {high} {step}");
            assert_eq!((share(low, (low, high)), share(high, (low, high))), (0.0, 1.0));
        }
        assert_eq!(bounds(std::iter::empty()), None);
    }
}
