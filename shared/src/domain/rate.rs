//! Rate limits: so many times in a window that starts with the first.

use super::id::{LearnerId, LinkId};
use super::time::{HOUR, MINUTE, Timestamp};

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// A learner's action.
    Learner(LearnerId, Action),
    /// Uses of an upgrade link, by anyone.
    Link(LinkId),
}

/// A learner's action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Starting a checkout while signed in.
    Checkout,
    /// Confirming a session.
    Confirm,
    /// Getting an upgrade link.
    Link,
    /// Having a session closed by an upgrade link for something else.
    ReplacedByLink,
    /// A tutor's tool call about the learner.
    Tutor,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 5] =
        [Self::Checkout, Self::Confirm, Self::Link, Self::ReplacedByLink, Self::Tutor];

    /// Its name where it is stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Checkout => "checkout",
            Self::Confirm => "confirm",
            Self::Link => "link",
            Self::ReplacedByLink => "replaced_by_link",
            Self::Tutor => "tutor",
        }
    }
}

/// One more request to count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// Which counter.
    pub counter: Counter,
    /// What was read.
    pub before: Option<Rate>,
    /// What it becomes.
    pub after: Rate,
    /// The most there may be in the window.
    pub times_max: u32,
}

impl Counter {
    /// How often this may be done.
    #[must_use]
    pub const fn limit(&self) -> Limit {
        match self {
            Self::Learner(_, Action::Checkout) | Self::Link(_) => {
                Limit { times: 20, window_seconds: 10 * MINUTE }
            }
            Self::Learner(_, Action::Confirm) => Limit { times: 60, window_seconds: 10 * MINUTE },
            Self::Learner(_, Action::Link) => Limit { times: 30, window_seconds: HOUR },
            Self::Learner(_, Action::ReplacedByLink) => Limit { times: 1, window_seconds: HOUR },
            Self::Learner(_, Action::Tutor) => Limit { times: 300, window_seconds: 10 * MINUTE },
        }
    }

    /// Counts one more, or says when to come back.
    pub fn count(self, before: Option<Rate>, now: Timestamp) -> Result<Count, TooOften> {
        let limit = self.limit();
        let after = limit.admit(before, now)?;
        Ok(Count { counter: self, before, after, times_max: limit.times })
    }
}

/// How often something may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// How many times.
    pub times: u32,
    /// In how many seconds.
    pub window_seconds: i64,
}

/// How often it has been done in the current window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// When the window began.
    pub since: Timestamp,
    /// How often, since then.
    pub times: u32,
}

/// Too often: come back after so many seconds, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooOften {
    /// Seconds until the window ends.
    pub retry_after_seconds: i64,
}

impl Limit {
    /// Counts one more, or says when to come back.
    pub fn admit(self, before: Option<Rate>, now: Timestamp) -> Result<Rate, TooOften> {
        match before {
            Some(rate) if self.is_current(rate, now) => {
                if rate.times >= self.times {
                    let passed = now.seconds_since(rate.since);
                    let left = self.window_seconds.saturating_sub(passed);
                    return Err(TooOften { retry_after_seconds: left.max(1) });
                }
                Ok(Rate { since: rate.since, times: rate.times.saturating_add(1) })
            }
            _ => Ok(Rate { since: now, times: 1 }),
        }
    }

    // A window from the future, left by a clock that was wrong, must not lock anybody out.
    fn is_current(self, rate: Rate, now: Timestamp) -> bool {
        (0..self.window_seconds).contains(&now.seconds_since(rate.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { times: 2, window_seconds: 60 };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    #[test]
    fn a_refused_attempt_names_the_end_of_its_window() {
        let first = LIMIT.admit(None, at(100)).unwrap();
        let second = LIMIT.admit(Some(first), at(130)).unwrap();
        assert_eq!(LIMIT.admit(Some(second), at(130)), Err(TooOften { retry_after_seconds: 30 }));
        assert_eq!(LIMIT.admit(Some(second), at(159)), Err(TooOften { retry_after_seconds: 1 }));
        assert_eq!(LIMIT.admit(Some(second), at(160)), Ok(Rate { since: at(160), times: 1 }));
    }

    #[test]
    fn a_window_from_the_future_locks_nobody_out() {
        let wrong = Rate { since: at(1_000_000), times: 2 };
        assert!(LIMIT.admit(Some(wrong), at(100)).is_ok());
    }
}
