//! When the next event is due.
//!
//! Event i is due at start + i / rate, so that a steady rate does not drift with the time that events take. The caller
//! sleeps: the input is the time elapsed since the start, the output is how long to wait.

use std::time::Duration;

/// How far a stalled generator may run behind before it skips what it missed: it bursts one second's worth at most.
const MAX_BEHIND: Duration = Duration::from_secs(1);

/// A steady rate.
#[derive(Debug, Clone)]
pub struct Pacer {
    /// `None`: never wait.
    interval_seconds: Option<f64>,
    /// When event 0 was due; moves forward after a stall.
    origin_seconds: f64,
    events: u64,
}

impl Pacer {
    /// `per_second` events a second, which must be above zero; `None` is as fast as possible.
    pub fn new(per_second: Option<f64>) -> Self {
        Self { interval_seconds: per_second.map(f64::recip), origin_seconds: 0.0, events: 0 }
    }

    /// How long to wait before the next event, at `elapsed` since the start; zero when it is due.
    pub fn wait(&mut self, elapsed: Duration) -> Duration {
        let Some(interval_seconds) = self.interval_seconds else { return Duration::ZERO };
        let now = elapsed.as_secs_f64();
        let due = self.origin_seconds + self.events as f64 * interval_seconds;
        let missed = now - due - MAX_BEHIND.as_secs_f64();
        if missed > 0.0 {
            self.origin_seconds += missed;
        }
        // A rate of one event in many years must not overflow a duration.
        Duration::try_from_secs_f64((due - now).max(0.0)).unwrap_or(Duration::MAX)
    }

    /// Counts an event as sent.
    pub fn sent(&mut self) {
        self.events += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a clock that only moves when the pacer waits or the event takes time; gives the time of each event.
    fn times(pacer: &mut Pacer, events: usize, mut takes: impl FnMut(usize) -> Duration) -> Vec<Duration> {
        let mut now = Duration::ZERO;
        (0..events)
            .map(|event| {
                loop {
                    let wait = pacer.wait(now);
                    if wait.is_zero() {
                        break;
                    }
                    now += wait.max(Duration::from_nanos(1));
                }
                pacer.sent();
                let sent = now;
                now += takes(event);
                sent
            })
            .collect()
    }

    fn close(time: Duration, seconds: f64) -> bool {
        (time.as_secs_f64() - seconds).abs() < 1e-6
    }

    #[test]
    fn events_are_due_at_even_times_whatever_they_take() {
        let times = times(&mut Pacer::new(Some(50.0)), 500, |event| Duration::from_millis(event as u64 % 40));
        assert!(close(times[0], 0.0));
        assert!(close(times[499], 499.0 / 50.0), "{:?}", times[499]);
    }

    #[test]
    fn one_event_in_two_seconds() {
        let times = times(&mut Pacer::new(Some(0.5)), 4, |_| Duration::ZERO);
        assert!([0.0, 2.0, 4.0, 6.0].iter().zip(times).all(|(due, time)| close(time, *due)));
    }

    #[test]
    fn a_stall_is_followed_by_one_seconds_worth_at_most() {
        let times =
            times(&mut Pacer::new(Some(100.0)), 400, |event| Duration::from_secs(if event == 99 { 60 } else { 0 }));
        let resumed = times[100];
        let burst = times[100..].iter().take_while(|time| **time == resumed).count();
        assert!((100..=101).contains(&burst), "a burst of {burst}");
        assert!(
            close(times[100 + burst].saturating_sub(resumed), 0.01)
                || close(times[100 + burst].saturating_sub(resumed), 0.0)
        );
        assert!(close(times[399].saturating_sub(times[398]), 0.01), "steady again");
    }

    #[test]
    fn a_stall_below_a_second_is_made_up_for() {
        let times =
            times(&mut Pacer::new(Some(100.0)), 400, |event| Duration::from_millis(if event == 99 { 900 } else { 0 }));
        assert!(close(times[399], 3.99), "{:?}", times[399]);
    }

    #[test]
    fn max_never_waits_and_rare_events_wait_for_ages() {
        let mut pacer = Pacer::new(None);
        for _ in 0..1000 {
            assert_eq!(pacer.wait(Duration::ZERO), Duration::ZERO);
            pacer.sent();
        }
        let mut pacer = Pacer::new(Some(1e-300));
        pacer.sent();
        assert_eq!(pacer.wait(Duration::ZERO), Duration::MAX);
    }
}
