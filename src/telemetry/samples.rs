//! Values that live elsewhere and are read when somebody looks.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::metrics::{Kind, Metric, TABLE};
use super::registry::{Source, unit};

/// What the sources say at one moment.
#[derive(Debug, Default)]
pub struct Samples {
    values: BTreeMap<(&'static str, Vec<String>), f64>,
    histograms: BTreeMap<&'static str, SampledHistogram>,
}

/// A distribution that is counted elsewhere.
#[derive(Clone, Debug, Default)]
pub struct SampledHistogram {
    /// Upper bounds, ascending, each with how many lie between the one before and it.
    pub buckets: Vec<(f64, u64)>,
    /// How many lie beyond the last bound.
    pub beyond: u64,
    /// Of all values.
    pub sum: f64,
}

impl Samples {
    /// Says the value of `metric` with `labels` in the table's order. The last word counts.
    pub fn set(&mut self, metric: &Metric, labels: &[&str], value: f64) {
        debug_assert_eq!(labels.len(), metric.labels.len(), "labels of {}", metric.name);
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self.values.insert((metric.name, labels), value);
    }

    /// [`Samples::set`] for counts.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    pub fn set_count(&mut self, metric: &Metric, labels: &[&str], count: u64) {
        self.set(metric, labels, count as f64);
    }

    /// Says the distribution of `metric`, which has no labels.
    pub fn set_histogram(&mut self, metric: &Metric, histogram: SampledHistogram) {
        debug_assert!(metric.kind == Kind::Histogram && metric.labels.is_empty(), "kind of {}", metric.name);
        self.histograms.insert(metric.name, histogram);
    }

    fn of(&self, metric: &Metric) -> impl Iterator<Item = (&Vec<String>, f64)> {
        let from = (metric.name, Vec::new());
        let name = metric.name;
        self.values
            .range(from..)
            .take_while(move |((of, _), _)| *of == name)
            .map(|((_, labels), value)| (labels, *value))
    }
}

/// Asks all sources at each scrape.
pub(super) struct SourceCollector(pub(super) std::sync::Arc<std::sync::RwLock<Vec<Source>>>);

impl fmt::Debug for SourceCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SourceCollector")
    }
}

impl Collector for SourceCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut samples = Samples::default();
        {
            let sources = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            for source in sources.iter() {
                source(&mut samples);
            }
        }
        for metric in TABLE {
            encode_metric(&mut encoder, metric, &samples)?;
        }
        Ok(())
    }
}

fn encode_metric(
    encoder: &mut DescriptorEncoder,
    metric: &Metric,
    samples: &Samples,
) -> Result<(), fmt::Error> {
    let kind = match metric.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => return encode_histogram(encoder, metric, samples),
    };
    let mut of = samples.of(metric).peekable();
    if of.peek().is_none() {
        return Ok(());
    }
    let unit = unit(metric.unit);
    let mut metric_encoder = encoder.encode_descriptor(metric.stem(), metric.meaning, unit.as_ref(), kind)?;
    for (labels, value) in of {
        let named: Vec<(&str, &str)> =
            metric.labels.iter().copied().zip(labels.iter().map(String::as_str)).collect();
        if named.is_empty() {
            encode_value(&mut metric_encoder, kind, value)?;
        } else {
            encode_value(&mut metric_encoder.encode_family(&named)?, kind, value)?;
        }
    }
    Ok(())
}

fn encode_histogram(
    encoder: &mut DescriptorEncoder,
    metric: &Metric,
    samples: &Samples,
) -> Result<(), fmt::Error> {
    let Some(histogram) = samples.histograms.get(metric.name) else { return Ok(()) };
    let unit = unit(metric.unit);
    let mut encoder =
        encoder.encode_descriptor(metric.stem(), metric.meaning, unit.as_ref(), MetricType::Histogram)?;
    let mut buckets = histogram.buckets.clone();
    buckets.push((f64::INFINITY, histogram.beyond));
    let count = buckets.iter().map(|(_, count)| count).sum();
    encoder.encode_histogram::<NoLabelSet>(histogram.sum, count, &buckets, None)
}

fn encode_value(
    encoder: &mut prometheus_client::encoding::MetricEncoder,
    kind: MetricType,
    value: f64,
) -> Result<(), fmt::Error> {
    if matches!(kind, MetricType::Counter) {
        encoder.encode_counter::<NoLabelSet, f64, f64>(&value, None)
    } else {
        encoder.encode_gauge(&value)
    }
}
