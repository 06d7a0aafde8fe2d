//! What each store uses, read from the stores whenever the metrics are shown.

use std::collections::HashMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::super::pulled::{Kind, float};
use super::Metrics;

/// What a store uses, in bytes, and what its limits refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreUsage {
    /// The store's name.
    pub store: String,
    /// SQLite's memory: cached pages, compiled statements, sorts.
    pub memory: u64,
    /// The write-ahead log.
    pub wal: u64,
    /// Temporary files: sorts, groups and views that do not fit into memory.
    pub temporary: u64,
    /// The file.
    pub file: u64,
    /// Refusals by the name of the limit.
    pub refused: Vec<(&'static str, u64)>,
    /// Checkpoints that reads had to wait for, by outcome.
    pub checkpoints: Vec<(&'static str, u64)>,
}

/// The families, by what is read of a store: each value with the label beside `store`, if there is one.
struct Family {
    desc: Desc,
    kind: Kind,
    label: Option<&'static str>,
    read: Read,
}

type Read = fn(&StoreUsage) -> Vec<(&'static str, u64)>;

struct Stores<F> {
    families: Vec<Family>,
    read: F,
}

impl Metrics {
    /// Shows what the stores use. `read` is called whenever the metrics are shown; it must not block.
    ///
    /// # Errors
    /// It is shown already.
    pub fn watch_stores(
        &self,
        read: impl Fn() -> Vec<StoreUsage> + Send + Sync + 'static,
    ) -> Result<(), prometheus::Error> {
        let gauge = |name, help, read: Read| Family::new(Kind::Gauge, name, help, None, read);
        let families = vec![
            gauge("arcana_store_memory_bytes", "Memory that SQLite has for a store.", |store| {
                vec![("", store.memory)]
            })?,
            gauge("arcana_store_wal_bytes", "Size of a store's write-ahead log.", |store| vec![("", store.wal)])?,
            gauge("arcana_store_temporary_bytes", "Size of a store's temporary files.", |store| {
                vec![("", store.temporary)]
            })?,
            gauge("arcana_store_file_bytes", "Size of a store's file.", |store| vec![("", store.file)])?,
            Family::new(
                Kind::Counter,
                "arcana_store_refusals_total",
                "What a store was refused, by limit: memory, total_memory, wal, temporary, disk.",
                Some("limit"),
                |store| store.refused.clone(),
            )?,
            Family::new(
                Kind::Counter,
                "arcana_store_checkpoints_total",
                "Checkpoints that new reads waited for, by outcome: done, or given up because older reads went on.",
                Some("outcome"),
                |store| store.checkpoints.clone(),
            )?,
        ];
        self.registry.register(Box::new(Stores { families, read }))
    }
}

impl<F: Fn() -> Vec<StoreUsage> + Send + Sync> Collector for Stores<F> {
    fn desc(&self) -> Vec<&Desc> {
        self.families.iter().map(|family| &family.desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let stores = (self.read)();
        // A family without metrics is a fault to prometheus.
        if stores.is_empty() {
            return Vec::new();
        }
        self.families.iter().map(|family| family.collect(&stores)).collect()
    }
}

impl Family {
    fn new(
        kind: Kind,
        name: &str,
        help: &str,
        label: Option<&'static str>,
        read: Read,
    ) -> Result<Self, prometheus::Error> {
        let labels = ["store"].into_iter().chain(label).map(str::to_owned).collect();
        let desc = Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())?;
        Ok(Self { desc, kind, label, read })
    }

    fn collect(&self, stores: &[StoreUsage]) -> MetricFamily {
        let values = stores.iter().flat_map(|store| (self.read)(store).into_iter().map(move |value| (store, value)));
        let metrics = values.map(|(store, (outcome, value))| {
            let mut metric = Metric::default();
            let labels = [self.label.map(|label| (label, outcome)), Some(("store", store.store.as_str()))];
            metric.set_label(labels.into_iter().flatten().map(|(name, value)| label(name, value)).collect());
            match self.kind {
                Kind::Counter => {
                    let mut counter = Counter::default();
                    counter.set_value(float(value));
                    metric.set_counter(counter);
                }
                Kind::Gauge => {
                    let mut gauge = Gauge::default();
                    gauge.set_value(float(value));
                    metric.set_gauge(gauge);
                }
            }
            metric
        });
        let mut shown = MetricFamily::default();
        shown.set_name(self.desc.fq_name.clone());
        shown.set_help(self.desc.help.clone());
        shown.set_field_type(match self.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
        });
        shown.set_metric(metrics.collect());
        shown
    }
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value.to_owned());
    label
}
