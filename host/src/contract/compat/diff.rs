//! Two lists of names, of which the second came from the first: what was appended, inserted, removed, renamed, moved.

use std::collections::HashMap;

/// The difference; positions are those of the lists.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Diff {
    /// In both lists under the same name: old and new position.
    pub(super) kept: Vec<(usize, usize)>,
    /// Those of them that stand in another order than they stood.
    pub(super) moved: Vec<(usize, usize)>,
    /// One name in the place of another one.
    pub(super) renamed: Vec<(usize, usize)>,
    /// Only in the old list.
    pub(super) removed: Vec<usize>,
    /// Only in the new list, before the one that was there already at the second position.
    pub(super) inserted: Vec<(usize, usize)>,
    /// Only in the new list, after all others.
    pub(super) appended: Vec<usize>,
}

impl Diff {
    pub(super) fn of(old: &[String], new: &[String]) -> Self {
        let mut diff = Self::default();
        let places: HashMap<&str, usize> = new.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        let known: HashMap<&str, usize> = old.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        let gone = |at: usize| old.get(at).is_some_and(|name| !places.contains_key(name.as_str()));
        for (at, name) in old.iter().enumerate() {
            match places.get(name.as_str()) {
                Some(place) => diff.kept.push((at, *place)),
                None if new.get(at).is_some_and(|name| !known.contains_key(name.as_str())) => {
                    diff.renamed.push((at, at))
                }
                None => diff.removed.push(at),
            }
        }
        diff.moved = out_of_order(&diff.kept);
        // The next one that was there before, seen from the end.
        let mut next = None;
        for (at, name) in new.iter().enumerate().rev() {
            if known.contains_key(name.as_str()) || gone(at) {
                next = Some(at);
            } else if let Some(next) = next {
                diff.inserted.push((at, next));
            } else {
                diff.appended.push(at);
            }
        }
        diff.inserted.reverse();
        diff.appended.reverse();
        diff
    }
}

/// The pairs outside of a longest run in which both positions go up.
fn out_of_order(pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    // For each length the run that ends lowest, by its last pair; and each pair's one before it.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(pairs.len());
    let place = |at: usize| pairs.get(at).map_or(usize::MAX, |pair| pair.1);
    for (at, (_, new)) in pairs.iter().enumerate() {
        let length = ends.partition_point(|end| place(*end) < *new);
        before.push(length.checked_sub(1).and_then(|length| ends.get(length).copied()));
        match ends.get_mut(length) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let mut stays = vec![false; pairs.len()];
    let mut next = ends.last().copied();
    while let Some(at) = next {
        if let Some(stays) = stays.get_mut(at) {
            *stays = true;
        }
        next = before.get(at).copied().flatten();
    }
    pairs.iter().zip(stays).filter(|(_, stays)| !stays).map(|(pair, _)| *pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(old: &str, new: &str) -> Diff {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        Diff::of(&words(old), &words(new))
    }

    #[test]
    fn each_change_is_told_by_its_name() {
        let kept = |pairs: &[(usize, usize)]| Diff { kept: pairs.to_vec(), ..Diff::default() };
        assert_eq!(of("", ""), kept(&[]));
        assert_eq!(of("a b", "a b"), kept(&[(0, 0), (1, 1)]));
        assert_eq!(of("a", "a b c"), Diff { appended: vec![1, 2], ..kept(&[(0, 0)]) });
        assert_eq!(of("a b", "x y a z b"), Diff { inserted: vec![(0, 2), (1, 2), (3, 4)], ..kept(&[(0, 2), (1, 4)]) });
        assert_eq!(of("a b c", "a c"), Diff { removed: vec![1], ..kept(&[(0, 0), (2, 1)]) });
        assert_eq!(of("a b", "a"), Diff { removed: vec![1], ..kept(&[(0, 0)]) });
        assert_eq!(of("a b c", "a x c"), Diff { renamed: vec![(1, 1)], ..kept(&[(0, 0), (2, 2)]) });
        assert_eq!(of("a b", "a x y"), Diff { renamed: vec![(1, 1)], appended: vec![2], ..kept(&[(0, 0)]) });
        assert_eq!(of("a b c d", "a d b c"), Diff { moved: vec![(3, 1)], ..kept(&[(0, 0), (1, 2), (2, 3), (3, 1)]) });
        assert_eq!(of("a b", "b a").moved.len(), 1);
        assert_eq!(of("a b c", "c b a").moved.len(), 2);
    }
}
