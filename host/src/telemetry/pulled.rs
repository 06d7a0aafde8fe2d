//! Metrics whose value is kept elsewhere and asked for when they are shown.

use std::collections::HashMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};

/// What a value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// Where a value comes from.
pub(super) type Read = Box<dyn Fn() -> Option<f64> + Send + Sync>;

/// A metric, with one fixed label at most, that is read from a function; where that has no value the metric is left out.
pub(super) struct Pulled {
    desc: Desc,
    kind: Kind,
    read: Read,
}

impl Pulled {
    pub(super) fn new(
        kind: Kind,
        name: &str,
        help: &str,
        label: Option<(&str, &str)>,
        read: Read,
    ) -> Result<Self, prometheus::Error> {
        let labels: HashMap<String, String> =
            label.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let desc = Desc::new(name.to_owned(), help.to_owned(), Vec::new(), labels)?;
        Ok(Self { desc, kind, read })
    }
}

impl Collector for Pulled {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(value) = (self.read)() else { return Vec::new() };
        let mut metric = Metric::default();
        metric.set_label(self.desc.const_label_pairs.clone());
        let field_type = match self.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
                MetricType::COUNTER
            }
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
                MetricType::GAUGE
            }
        };
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(field_type);
        family.set_metric(vec![metric]);
        vec![family]
    }
}

/// The nearest `f64`; exact up to 2^53.
pub(super) fn float(value: u64) -> f64 {
    let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
    let (high, low) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
    f64::from(high) * 4_294_967_296.0 + f64::from(low)
}

/// A counter's value as a whole number; counters hold nothing else.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts from 0, whole, below 2^53")]
pub(super) const fn whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::float;

    #[test]
    fn floats_are_exact() {
        assert_eq!(float(0), 0.0);
        assert_eq!(float(4_294_967_297), 4_294_967_297.0);
        assert_eq!(float((1 << 53) - 1), 9_007_199_254_740_991.0);
    }
}
