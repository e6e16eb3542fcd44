//! Everything that one process shows of itself.

use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Metric as Countable, Registry as Inner, Unit as InnerUnit};
use tokio::time::Instant;

use super::encode::{self, Rendered};
use super::handles::{ApiMetrics, RuntimeMetrics, SchedulingMetrics};
use super::metrics::{self, Kind, Metric, On, Unit};
use super::process;
use super::samples::{Samples, SourceCollector};

/// Reads values that live elsewhere. Called at each scrape; must not block.
pub type Source = Box<dyn Fn(&mut Samples) + Send + Sync>;

/// The metrics of one master or agent. Clones show the same.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
    sources: Arc<RwLock<Vec<Source>>>,
    started: Instant,
    api: ApiMetrics,
    scheduling: SchedulingMetrics,
    runtime: RuntimeMetrics,
}

impl Registry {
    /// Of a master.
    pub fn master() -> Self {
        Self::new(On::Master)
    }

    /// Of an agent.
    pub fn agent() -> Self {
        Self::new(On::Agent)
    }

    fn new(role: On) -> Self {
        let api = ApiMetrics::new();
        let scheduling = SchedulingMetrics::new();
        let runtime = RuntimeMetrics::new();
        let sources: Arc<RwLock<Vec<Source>>> = Arc::default();

        let mut inner = Inner::default();
        if role == On::Master {
            register(&mut inner, &metrics::API_REQUESTS, api.requests.clone());
            register(&mut inner, &metrics::API_DURATION, api.durations.clone());
            register(&mut inner, &metrics::API_ACTIVE, api.active.clone());
            register(&mut inner, &metrics::CYCLES, scheduling.cycles.clone());
            register(&mut inner, &metrics::PLACEMENTS, scheduling.placements.clone());
            register(&mut inner, &metrics::CYCLE_DURATION, scheduling.duration.clone());
        } else {
            register(&mut inner, &metrics::RUNTIME_OPERATIONS, runtime.operations.clone());
            register(&mut inner, &metrics::RUNTIME_ERRORS, runtime.errors.clone());
            register(&mut inner, &metrics::RUNTIME_DURATION, runtime.durations.clone());
        }
        inner.register_collector(Box::new(SourceCollector(Arc::clone(&sources))));
        let registry =
            Self { inner: Arc::new(inner), sources, started: Instant::now(), api, scheduling, runtime };
        registry.add_source(Box::new(move |samples| {
            samples.set(&metrics::BUILD_INFO, &[env!("CARGO_PKG_VERSION"), role.as_str()], 1.0);
            process::sample(samples);
        }));
        registry
    }

    /// Asks `source` at each scrape from now on.
    pub fn add_source(&self, source: Source) {
        self.sources.write().unwrap_or_else(PoisonError::into_inner).push(source);
    }

    /// Counts requests.
    pub fn api(&self) -> ApiMetrics {
        self.api.clone()
    }

    /// Counts scheduling cycles.
    pub fn scheduling(&self) -> SchedulingMetrics {
        self.scheduling.clone()
    }

    /// Counts calls to runtimes.
    pub fn runtime(&self) -> RuntimeMetrics {
        self.runtime.clone()
    }

    /// Everything, in the form that an `Accept` header asks for.
    pub fn render(&self, accept: Option<&str>) -> Rendered {
        encode::render(&self.inner, accept, self.started.elapsed())
    }
}

fn register(inner: &mut Inner, metric: &Metric, countable: impl Countable) {
    debug_assert!(
        matches!(
            (metric.kind, countable.metric_type()),
            (Kind::Counter, MetricType::Counter)
                | (Kind::Gauge, MetricType::Gauge)
                | (Kind::Histogram, MetricType::Histogram)
        ),
        "kind of {}",
        metric.name
    );
    // The registry ends each help with a full stop of its own.
    match unit(metric.unit) {
        Some(unit) => inner.register_with_unit(metric.stem(), metric.meaning, unit, countable),
        None => inner.register(metric.stem(), metric.meaning, countable),
    }
}

pub(super) fn unit(unit: Unit) -> Option<InnerUnit> {
    match unit {
        Unit::Count => None,
        Unit::Seconds => Some(InnerUnit::Seconds),
        Unit::Bytes => Some(InnerUnit::Bytes),
    }
}
