//! The metrics registry: every metric is registered at start and its handle kept by whoever counts.
//!
//! Flows in: registrations, once. Flows out: plain handles (an atomic each) and the text of `/metrics`. Labels come from
//! closed sets: no look-up by label happens after start.

use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

/// The process's metrics; clones are the same registry.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Default for Metrics {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Registry::with_prefix("countersign"))))
    }
}

impl Metrics {
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a metric of any kind; its name gets the prefix `countersign_`.
    pub fn register(&self, name: &'static str, help: &'static str, metric: impl Metric) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).register(name, help, metric);
    }

    /// A counter without labels.
    pub fn counter(&self, name: &'static str, help: &'static str) -> Counter {
        let counter = Counter::default();
        self.register(name, help, counter.clone());
        counter
    }

    /// A gauge without labels.
    pub fn gauge(&self, name: &'static str, help: &'static str) -> Gauge {
        let gauge = Gauge::default();
        self.register(name, help, gauge.clone());
        gauge
    }

    /// A counter for each value of one label, in the order given.
    pub fn counters<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: [&'static str; N],
    ) -> [Counter; N] {
        let family = Family::<[(&'static str, &'static str); 1], Counter>::default();
        self.register(name, help, family.clone());
        values.map(|value| family.get_or_create_owned(&[(label, value)]))
    }

    /// All metrics in the `OpenMetrics` text form.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_count_into_the_text_under_the_prefix() {
        let metrics = Metrics::new();
        let [good, bad] = metrics.counters("calls", "Calls", "outcome", ["good", "bad"]);
        good.inc();
        bad.inc_by(2);
        metrics.gauge("age_seconds", "Age").set(3);
        let text = metrics.encode().unwrap();
        assert!(text.contains("countersign_calls_total{outcome=\"good\"} 1"), "{text}");
        assert!(text.contains("countersign_calls_total{outcome=\"bad\"} 2"), "{text}");
        assert!(text.contains("countersign_age_seconds 3"), "{text}");
    }
}
