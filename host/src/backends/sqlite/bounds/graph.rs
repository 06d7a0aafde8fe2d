//! Which writes bring about which others, by triggers and by the actions of foreign keys.

use std::collections::HashMap;

use super::{Bounds, Limit, Over};

/// A table and what is written when it is.
#[derive(Debug, Default)]
struct Node {
    /// For each trigger, or action of a foreign key, the tables that it writes to.
    edges: Vec<usize>,
    /// The tables that its triggers and actions read, and one for each of their statements.
    cost: u64,
    /// How long a chain of triggers and actions can begin here.
    chain: u32,
}

/// Tables by the writes that they bring about. SQLite compiles all that can be reached from a table with every write to
/// it, one inside the other.
#[derive(Debug, Default)]
pub(super) struct Graph {
    places: HashMap<String, usize>,
    nodes: Vec<Node>,
}

impl Graph {
    /// A trigger, or the action of a foreign key, on a table.
    pub(super) fn add(&mut self, on: &str, targets: &[String], cost: u64) {
        let from = self.place(on);
        let targets: Vec<usize> = targets.iter().map(|target| self.place(target)).collect();
        if let Some(node) = self.nodes.get_mut(from) {
            node.cost = node.cost.saturating_add(cost);
            node.edges.extend(targets);
        }
    }

    fn place(&mut self, name: &str) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        self.nodes.push(Node::default());
        self.places.insert(name.to_owned(), self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// Whether a write to this table stays within the bounds; answers what it comes to.
    pub(super) fn check(&self, table: &str, bounds: &Bounds) -> Result<u64, Over> {
        let Some(place) = self.places.get(table) else { return Ok(0) };
        if self.nodes.get(*place).is_some_and(|node| node.chain > bounds.trigger_chain) {
            return Err(Over::of(Limit::TriggerChain));
        }
        let mut cost = 0_u64;
        for place in self.reached(*place) {
            cost = cost.saturating_add(self.nodes.get(place).map_or(0, |node| node.cost));
        }
        if cost > u64::from(bounds.sources) { Err(Over::of(Limit::Sources)) } else { Ok(cost) }
    }

    fn edges(&self, place: usize) -> &[usize] {
        self.nodes.get(place).map_or(&[], |node| &node.edges)
    }

    fn reached(&self, from: usize) -> Vec<usize> {
        let mut seen = vec![false; self.nodes.len()];
        let (mut open, mut found) = (vec![from], Vec::new());
        while let Some(place) = open.pop() {
            if let Some(seen @ false) = seen.get_mut(place) {
                *seen = true;
                found.push(place);
                open.extend(self.edges(place));
            }
        }
        found
    }

    /// Finds the longest chains. Tables that write to each other in a circle count for all the edges among them: SQLite
    /// compiles each trigger once, so a chain may go through every one of them, but not for ever.
    pub(super) fn measure(&mut self) {
        let order = self.finished();
        let mut circle = vec![usize::MAX; self.nodes.len()];
        let mut backwards: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        for (from, node) in self.nodes.iter().enumerate() {
            for to in &node.edges {
                if let Some(list) = backwards.get_mut(*to) {
                    list.push(from);
                }
            }
        }
        // In reverse order of finishing, whatever leads back to a table is in a circle with it (Kosaraju).
        let mut circles: Vec<Vec<usize>> = Vec::new();
        for root in order.iter().rev() {
            let mut open = vec![*root];
            let mut members = Vec::new();
            while let Some(place) = open.pop() {
                if let Some(free @ &mut usize::MAX) = circle.get_mut(place) {
                    *free = circles.len();
                    members.push(place);
                    open.extend(backwards.get(place).into_iter().flatten());
                }
            }
            if !members.is_empty() {
                circles.push(members);
            }
        }
        // The circles come so that edges lead to later ones only.
        for (number, members) in circles.iter().enumerate().rev() {
            let (mut within, mut beyond) = (0_u32, 0_u32);
            for to in members.iter().flat_map(|place| self.edges(*place)) {
                if circle.get(*to) == Some(&number) {
                    within = within.saturating_add(1);
                } else {
                    beyond = beyond.max(self.nodes.get(*to).map_or(0, |node| node.chain.saturating_add(1)));
                }
            }
            for place in members {
                if let Some(node) = self.nodes.get_mut(*place) {
                    node.chain = within.saturating_add(beyond);
                }
            }
        }
    }

    /// The tables in the order in which a walk in depth is done with them.
    fn finished(&self) -> Vec<usize> {
        let mut seen = vec![false; self.nodes.len()];
        let mut order = Vec::with_capacity(self.nodes.len());
        for root in 0..self.nodes.len() {
            let mut open = vec![(root, 0)];
            while let Some((place, next)) = open.pop() {
                if next == 0 && std::mem::replace(seen.get_mut(place).unwrap_or(&mut true), true) {
                    continue;
                }
                match self.edges(place).get(next) {
                    Some(edge) => {
                        open.push((place, next + 1));
                        open.push((*edge, 0));
                    }
                    None => order.push(place),
                }
            }
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(edges: &[(&str, &str)], from: &str) -> u32 {
        let mut graph = Graph::default();
        for (on, to) in edges {
            graph.add(on, &[(*to).to_owned()], 1);
        }
        graph.measure();
        graph.nodes[graph.places[from]].chain
    }

    #[test]
    fn chains_are_as_long_as_the_longest_way() {
        assert_eq!(chain(&[("a", "b"), ("b", "c"), ("a", "c"), ("c", "d")], "a"), 3);
        assert_eq!(chain(&[("a", "b"), ("b", "c"), ("a", "c"), ("c", "d")], "d"), 0);
        assert_eq!(chain(&[("a", "a"), ("a", "a"), ("a", "b")], "a"), 3);
        assert_eq!(chain(&[("a", "b"), ("b", "a"), ("b", "c"), ("x", "a")], "x"), 4);
        let star: Vec<(String, String)> = (0..100).map(|n| ("a".to_owned(), format!("b{n}"))).collect();
        let star: Vec<_> = star.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(chain(&star, "a"), 1);
    }
}
