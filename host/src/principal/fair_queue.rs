//! A queue in which one plugin's backlog does not delay another plugin: each plugin has its own line, and the next job comes from
//! the line that has had the least work so far (start-time fair queueing, by the cost of the jobs).

use std::collections::VecDeque;
use std::sync::Arc;

/// Jobs that wait, by plugin.
pub(super) struct FairQueue<J> {
    lines: Vec<Line<J>>,
    len: usize,
    capacity: usize,
    /// The work that the line of the latest job had had when it was taken: where a new line begins.
    clock: u64,
}

struct Line<J> {
    plugin: Arc<str>,
    jobs: VecDeque<(u64, J)>,
    spent: u64,
}

impl<J> FairQueue<J> {
    /// At most so many jobs, of all plugins together.
    pub(super) const fn new(capacity: usize) -> Self {
        Self { lines: Vec::new(), len: 0, capacity, clock: 0 }
    }

    /// How many jobs wait.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Whether one more job takes the place of another, or none.
    pub(super) const fn is_full(&self) -> bool {
        self.len >= self.capacity
    }

    /// Adds a job of this cost to its plugin's line. Where the queue is full, the newest job of the longest line has no place;
    /// it is answered, and may be this one.
    pub(super) fn push(&mut self, plugin: &Arc<str>, cost: u64, job: J) -> Option<J> {
        let full = self.is_full();
        let clock = self.clock;
        // A line without jobs that would begin anew where it ended says nothing.
        self.lines.retain(|line| !line.jobs.is_empty() || line.spent > clock || line.plugin == *plugin);
        let at = self.lines.iter().position(|line| line.plugin == *plugin).unwrap_or_else(|| {
            self.lines.push(Line { plugin: plugin.clone(), jobs: VecDeque::new(), spent: clock });
            self.lines.len() - 1
        });
        let own = self.lines.get(at).map_or(0, |line| line.jobs.len());
        let longest = self.lines.iter_mut().filter(|_| full).max_by_key(|line| line.jobs.len());
        let without_place = match longest {
            Some(longest) if longest.jobs.len() > own => longest.jobs.pop_back().map(|(_, job)| job),
            Some(_) => return Some(job),
            None => None,
        };
        if let Some(line) = self.lines.get_mut(at) {
            if line.jobs.is_empty() {
                line.spent = line.spent.max(clock);
            }
            line.jobs.push_back((cost, job));
        }
        self.len += usize::from(without_place.is_none());
        without_place
    }

    /// The next job.
    pub(super) fn pop(&mut self) -> Option<J> {
        let line = self.lines.iter_mut().filter(|line| !line.jobs.is_empty()).min_by_key(|line| line.spent)?;
        let (cost, job) = line.jobs.pop_front()?;
        self.clock = self.clock.max(line.spent);
        line.spent = line.spent.saturating_add(cost);
        self.len -= 1;
        Some(job)
    }

    /// Forgets the jobs for which this is false.
    pub(super) fn retain(&mut self, keep: impl Fn(&J) -> bool) {
        self.lines.iter_mut().for_each(|line| line.jobs.retain(|(_, job)| keep(job)));
        self.len = self.lines.iter().map(|line| line.jobs.len()).sum();
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.lines.clear();
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut FairQueue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn lines_take_turns_by_the_work_that_they_had() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut queue = FairQueue::new(16);
        for job in ["a1", "a2", "a3"] {
            assert_eq!(queue.push(&a, 4, job), None);
        }
        assert_eq!(queue.pop(), Some("a1"));
        // One that comes later is next, and as often as its jobs are smaller.
        for job in ["b1", "b2", "b3", "b4", "b5"] {
            assert_eq!(queue.push(&b, 1, job), None);
        }
        assert_eq!(drain(&mut queue), ["b1", "b2", "b3", "b4", "a2", "b5", "a3"]);
        // A line that was empty has saved nothing up: it begins where the others are.
        assert_eq!((queue.push(&a, 4, "a4"), queue.push(&a, 4, "a5")), (None, None));
        assert_eq!((queue.push(&b, 4, "b6"), queue.push(&b, 4, "b7")), (None, None));
        assert_eq!(drain(&mut queue).len(), 4);
        assert_eq!((queue.len(), queue.pop()), (0, None));
    }

    #[test]
    fn a_full_queue_takes_the_place_from_the_longest_line() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut queue = FairQueue::new(4);
        for job in ["a1", "a2", "a3", "a4"] {
            assert_eq!(queue.push(&a, 1, job), None);
        }
        assert_eq!(queue.push(&a, 1, "a5"), Some("a5"));
        assert_eq!(queue.push(&b, 1, "b1"), Some("a4"));
        assert_eq!(queue.push(&b, 1, "b2"), Some("a3"));
        assert_eq!(queue.push(&b, 1, "b3"), Some("b3"), "now both are as long");
        assert_eq!(queue.push(&a, 1, "a6"), Some("a6"));
        queue.retain(|job| *job != "a1");
        assert_eq!((queue.len(), queue.is_full()), (3, false));
        assert_eq!(queue.push(&b, 1, "b4"), None);
        let mut left = drain(&mut queue);
        left.sort_unstable();
        assert_eq!(left, ["a2", "b1", "b2", "b4"]);
        queue.clear();
        assert_eq!(queue.len(), 0);
    }
}
