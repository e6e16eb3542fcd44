//! Handles for what is counted where it happens. Cheap to clone; all clones count together.

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

pub(super) type Labels = Vec<(&'static str, String)>;

/// From half a millisecond to ten seconds; what is slower is broken, not slow.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

fn durations() -> Histogram {
    Histogram::new(SECONDS)
}

/// Requests of people.
#[derive(Clone, Debug)]
pub struct ApiMetrics {
    pub(super) requests: Family<Labels, Counter>,
    pub(super) durations: Family<Labels, Histogram>,
    pub(super) active: Gauge<i64, AtomicI64>,
}

/// A request being answered; counts as active until dropped.
#[derive(Debug)]
pub struct InFlight(Gauge<i64, AtomicI64>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Methods that get a label of their own; others are one, since clients invent them.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

impl ApiMetrics {
    pub(super) fn new() -> Self {
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(durations),
            active: Gauge::default(),
        }
    }

    /// A request has come.
    pub fn begin(&self) -> InFlight {
        self.active.inc();
        InFlight(self.active.clone())
    }

    /// A request was answered. `route` is the template of the path, absent where none matched.
    pub fn answered(&self, method: &str, route: Option<&str>, code: u16, took: Duration) {
        let method = METHODS.into_iter().find(|known| *known == method).unwrap_or("other").to_owned();
        let route = route.unwrap_or("other").to_owned();
        let of = vec![("method", method), ("route", route)];
        self.durations.get_or_create(&of).observe(took.as_secs_f64());
        let mut of = of;
        of.push(("code", code.to_string()));
        self.requests.get_or_create(&of).inc();
    }
}

/// Scheduling cycles.
#[derive(Clone, Debug)]
pub struct SchedulingMetrics {
    pub(super) cycles: Counter,
    pub(super) placements: Counter,
    pub(super) duration: Histogram,
}

impl SchedulingMetrics {
    pub(super) fn new() -> Self {
        Self { cycles: Counter::default(), placements: Counter::default(), duration: durations() }
    }

    /// A cycle has decided to place `placements` instances.
    pub fn cycle(&self, placements: usize, took: Duration) {
        self.cycles.inc();
        self.placements.inc_by(u64::try_from(placements).unwrap_or(u64::MAX));
        self.duration.observe(took.as_secs_f64());
    }
}

/// Calls to runtimes.
#[derive(Clone, Debug)]
pub struct RuntimeMetrics {
    pub(super) operations: Family<Labels, Counter>,
    pub(super) errors: Family<Labels, Counter>,
    pub(super) durations: Family<Labels, Histogram>,
}

impl RuntimeMetrics {
    pub(super) fn new() -> Self {
        Self {
            operations: Family::default(),
            errors: Family::default(),
            durations: Family::new_with_constructor(durations),
        }
    }

    /// `operation` (start, stop, ...) of `driver` (docker, process) has ended.
    pub fn called(&self, driver: &'static str, operation: &'static str, failed: bool, took: Duration) {
        let of = vec![("driver", driver.to_owned()), ("operation", operation.to_owned())];
        self.operations.get_or_create(&of).inc();
        self.durations.get_or_create(&of).observe(took.as_secs_f64());
        let errors = self.errors.get_or_create(&of);
        if failed {
            errors.inc();
        }
    }
}
