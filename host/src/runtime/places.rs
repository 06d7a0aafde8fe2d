//! Places for compilations, given out so that no plugin and no publisher keeps all others from compiling.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Who wants a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeker {
    /// The plugin: it has one place at a time.
    pub plugin: Arc<str>,
    /// Who signed it: one publisher never has the last place.
    pub publisher: Arc<str>,
    /// Large files never have the last place either.
    pub large: bool,
}

/// A bounded number of places.
pub struct Places {
    max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    taken: Vec<(u64, Seeker)>,
    waiting: VecDeque<(Seeker, oneshot::Sender<Place>)>,
    /// How many places each plugin was given since nobody wanted any.
    given: HashMap<Arc<str>, u32>,
    next: u64,
}

/// A place, until it is dropped.
pub struct Place {
    /// None where it was handed back already.
    of: Option<Arc<Places>>,
    number: u64,
}

impl Places {
    /// So many places, two at least.
    #[must_use]
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max: max.max(2), state: Mutex::default() })
    }

    /// A place. Of those who wait the publisher with the fewest places comes first, then the plugin that was given fewest, then
    /// the one that has waited longest. Dropping the future gives the turn up.
    pub async fn take(self: &Arc<Self>, seeker: Seeker) -> Option<Place> {
        let (give, receive) = oneshot::channel();
        {
            let mut state = self.state.lock();
            state.waiting.push_back((seeker, give));
            self.give(&mut state);
        }
        receive.await.ok()
    }

    /// Places that are taken, and those who wait for one.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.taken.len(), state.waiting.iter().filter(|(_, give)| !give.is_closed()).count())
    }

    /// Gives places to those who may have one.
    fn give(self: &Arc<Self>, state: &mut State) {
        state.waiting.retain(|(_, give)| !give.is_closed());
        while let Some(at) = self.next(state) {
            let Some((seeker, give)) = state.waiting.remove(at) else { return };
            let number = state.next;
            state.next += 1;
            *state.given.entry(seeker.plugin.clone()).or_default() += 1;
            state.taken.push((number, seeker));
            if let Err(mut place) = give.send(Place { of: Some(self.clone()), number }) {
                // The lock that its end would take is held here.
                place.of = None;
                state.taken.retain(|(taken, _)| *taken != number);
            }
        }
    }

    /// Which of those who wait is next; none where none of them may have a place now.
    fn next(&self, state: &State) -> Option<usize> {
        let taken = |is: &dyn Fn(&Seeker) -> bool| state.taken.iter().filter(|(_, seeker)| is(seeker)).count();
        let last = self.max - 1;
        if state.taken.len() > last {
            return None;
        }
        let waiting = state.waiting.iter().enumerate().filter_map(|(at, (seeker, _))| {
            let of_publisher = taken(&|other| other.publisher == seeker.publisher);
            let may = of_publisher < last
                && taken(&|other| other.plugin == seeker.plugin) == 0
                && (!seeker.large || taken(&|other| other.large) < last);
            let given = state.given.get(&seeker.plugin).copied().unwrap_or_default();
            may.then_some((of_publisher, given, at))
        });
        waiting.min().map(|(.., at)| at)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(places) = self.of.take() else { return };
        let mut state = places.state.lock();
        state.taken.retain(|(taken, _)| *taken != self.number);
        places.give(&mut state);
        if state.taken.is_empty() {
            state.given.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn seeker(plugin: &str, publisher: &str, large: bool) -> Seeker {
        Seeker { plugin: plugin.into(), publisher: publisher.into(), large }
    }

    #[tokio::test]
    async fn one_publisher_never_has_the_last_place_and_one_plugin_has_one() {
        let places = Places::new(3);
        let take = |plugin: &str, publisher: &str| Box::pin(places.take(seeker(plugin, publisher, false)));
        let mut first = take("a/1", "a");
        let first = first.as_mut().now_or_never().unwrap();
        let mut again = take("a/1", "a");
        assert!(again.as_mut().now_or_never().is_none(), "the same plugin has two places");
        let second = take("a/2", "a").await;
        let mut third = take("a/3", "a");
        assert!(third.as_mut().now_or_never().is_none(), "one publisher has every place");
        // A later publisher without a place is first.
        let other = take("b/1", "b").now_or_never().expect("a place is kept for others");
        assert_eq!(places.counts(), (3, 2));
        let mut late = take("c/1", "c");
        assert!(late.as_mut().now_or_never().is_none());
        drop(other);
        let late = late.now_or_never().expect("the publisher without a place comes first");
        drop((first, second));
        assert!(again.now_or_never().is_some() && third.now_or_never().is_some());
        drop(late);
        assert_eq!(places.counts(), (0, 0));
    }

    #[tokio::test]
    async fn large_files_leave_a_place_for_small_ones() {
        let places = Places::new(3);
        let take = |plugin: &str, large: bool| Box::pin(places.take(seeker(plugin, plugin, large)));
        let held = (take("a", true).await, take("b", true).await);
        let mut third = take("c", true);
        assert!(third.as_mut().now_or_never().is_none());
        assert!(take("d", false).now_or_never().is_some());
        drop(held);
        assert!(third.now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_no_longer_waits_takes_no_place() {
        let places = Places::new(2);
        let held = places.take(seeker("a", "a", false)).await;
        let other = places.take(seeker("b", "b", false)).await;
        let mut gone = Box::pin(places.take(seeker("c", "c", false)));
        assert!(gone.as_mut().now_or_never().is_none());
        drop(gone);
        assert_eq!(places.counts(), (2, 0));
        // One that was given a place and is dropped before it looks gives it back.
        let mut given = Box::pin(places.take(seeker("d", "d", false)));
        assert!(given.as_mut().now_or_never().is_none());
        drop(held);
        assert_eq!(places.counts(), (2, 0));
        drop(given);
        assert_eq!(places.counts(), (1, 0));
        drop(other);
        assert_eq!(places.counts(), (0, 0));
    }
}
