//! The API's throttling: a token bucket for each route.
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-throttling.html>

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::template::{Limit, Throttling};

/// The buckets of all routes.
pub(super) struct Throttle {
    limits: Throttling,
    /// When each route's bucket will be full again, as the time since some fixed moment.
    full_at: Mutex<BTreeMap<String, Duration>>,
}

impl Throttle {
    pub(super) fn new(limits: Throttling) -> Self {
        Self { limits, full_at: Mutex::default() }
    }

    /// Whether a request to this route is let through at this time, which uses up a token.
    pub(super) fn admits(&self, route: &str, now: Duration) -> bool {
        let Some(Limit { burst, rate }) =
            self.limits.routes.get(route).copied().or(self.limits.default)
        else {
            return true;
        };
        let Some(refill) = Duration::from_secs(1).checked_div(rate) else { return false };
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = full_at.entry(route.to_owned()).or_default();
        let taken = full_at.saturating_sub(now).saturating_add(refill);
        if taken > refill.saturating_mul(burst) {
            return false;
        }
        *full_at = now.saturating_add(taken);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_admits_its_burst_and_then_its_rate() {
        let limit = |burst, rate| Limit { burst, rate };
        let routes = [("POST /webhook".to_owned(), limit(3, 10)), ("off".to_owned(), limit(9, 0))];
        let throttle =
            Throttle::new(Throttling { default: Some(limit(2, 1)), routes: routes.into() });
        let admitted = |route, at_ms, asked| {
            let now = Duration::from_secs(9) + Duration::from_millis(at_ms);
            (0..asked).filter(|_| throttle.admits(route, now)).count()
        };
        for (route, at_ms, expected) in [
            ("POST /webhook", 0, 3),
            ("POST /webhook", 99, 0),
            ("POST /webhook", 100, 1),
            // Each route has a bucket of its own.
            ("GET /courses", 100, 2),
            ("GET /entitlements", 100, 2),
            ("POST /webhook", 10_000, 3),
            ("GET /courses", 10_000, 2),
            ("off", 10_000, 0),
        ] {
            assert_eq!(admitted(route, at_ms, 5), expected, "{route} at {at_ms} ms");
        }
        let unlimited = Throttle::new(Throttling::default());
        assert!((0..1000).all(|_| unlimited.admits("GET /courses", Duration::ZERO)));
    }
}
