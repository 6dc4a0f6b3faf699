//! A number for each plugin, or cluster, that has one.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, metrics::MetricType};

/// A gauge with a name as its label. Unlike a family of gauges it forgets those that are gone.
#[derive(Clone, Debug)]
pub(super) struct ByName {
    label: &'static str,
    name: &'static str,
    help: &'static str,
    numbers: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl ByName {
    /// One whose label is called `label`.
    pub(super) fn new(label: &'static str, name: &'static str, help: &'static str) -> Self {
        Self {
            label,
            name,
            help,
            numbers: Arc::default(),
        }
    }

    /// `None`: it has none.
    pub(super) fn set(&self, name: &str, number: Option<u64>) {
        let mut numbers = self.lock();
        match number {
            Some(number) => _ = numbers.insert(name.to_owned(), number),
            None => _ = numbers.remove(name),
        }
    }

    pub(super) fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.lock().retain(|name, _| exists(name));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        // An entry is replaced as a whole.
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for ByName {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?;
        for (name, number) in self.lock().iter() {
            let labels = [(self.label, name.as_str())];
            metric.encode_family(&labels)?.encode_gauge(number)?;
        }
        Ok(())
    }
}
