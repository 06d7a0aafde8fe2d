//! The text of the metrics, shared by those who read it at about the same time: gathering and printing every series costs
//! milliseconds and hundreds of kilobytes, however many ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use super::metrics::Metrics;

/// The text, rendered at most once in a time.
pub struct Rendered {
    metrics: Arc<Metrics>,
    max_age: Duration,
    last: ArcSwapOption<(Instant, Bytes)>,
    rendering: AtomicBool,
}

impl Rendered {
    /// The text of these metrics; one that is at most so old is served again.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, max_age: Duration) -> Self {
        Self { metrics, max_age, last: ArcSwapOption::empty(), rendering: AtomicBool::new(false) }
    }

    /// The text format, version 0.0.4. While one request renders it, the others are served the last one.
    #[must_use]
    pub fn text(&self) -> Bytes {
        let last = self.last.load();
        if let Some(last) = &*last
            && (last.0.elapsed() < self.max_age || self.rendering.swap(true, Ordering::Acquire))
        {
            return last.1.clone();
        }
        let text = Bytes::from(self.metrics.render());
        if !self.max_age.is_zero() {
            self.last.store(Some(Arc::new((Instant::now(), text.clone()))));
        }
        self.rendering.store(false, Ordering::Release);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_shared_until_it_is_too_old() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let rendered = Rendered::new(metrics.clone(), Duration::from_secs(3600));
        let first = rendered.text();
        metrics.limit_rejected("rate");
        assert_eq!(rendered.text().as_ptr(), first.as_ptr());
        let rendered = Rendered::new(metrics.clone(), Duration::ZERO);
        let counted = |text: Bytes| String::from_utf8(text.to_vec()).unwrap().contains(r#"{limit="rate"} 2"#);
        assert!(!counted(rendered.text()));
        metrics.limit_rejected("rate");
        assert!(counted(rendered.text()));
    }
}
