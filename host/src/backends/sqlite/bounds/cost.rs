//! What a query comes to, and what its columns stand for.

use std::collections::HashMap;

use super::tokens::{Kind, Token};

/// What a query comes to when everything in it is in its place.
#[derive(Debug, Clone, Default)]
pub(super) struct Cost {
    /// Tables that are read.
    pub(super) sources: u64,
    /// Tokens.
    pub(super) size: u64,
    /// Levels of queries, views, common table expressions and parentheses below this one.
    pub(super) depth: u32,
    /// Columns of an answer.
    pub(super) width: u64,
    /// Terms of a compound query.
    pub(super) terms: u64,
    pub(super) columns: Columns,
}

impl Cost {
    /// A table.
    pub(super) fn table(width: u64, columns: Columns) -> Self {
        Self { sources: 1, size: 1, depth: 0, width, terms: 1, columns }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.sources = self.sources.saturating_add(other.sources);
        self.size = self.size.saturating_add(other.size);
        self.depth = self.depth.max(other.depth);
    }
}

/// The columns of an answer and how large the expression behind each is.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns {
    pub(super) list: Vec<Column>,
    /// Whether a `*` is among them, so that places in the list say nothing.
    pub(super) starred: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    /// False where another name may stand for it too.
    pub(super) sure: bool,
    pub(super) size: u64,
}

impl Columns {
    /// The same columns under names of their own.
    pub(super) fn renamed(self, names: &[String]) -> Self {
        let largest = self.list.iter().map(|column| column.size).max().unwrap_or(1);
        let placed = !self.starred;
        let size = |at: usize| if placed { self.list.get(at).map_or(largest, |column| column.size) } else { largest };
        let list = names.iter().enumerate();
        let list = list.map(|(at, name)| Column { name: name.clone(), sure: true, size: size(at) }).collect();
        Self { list, starred: false }
    }

    /// Another term of the same compound query.
    pub(super) fn merge(&mut self, other: Self) {
        if self.starred || other.starred || self.list.len() != other.list.len() {
            self.starred = true;
            let size = other.list.iter().map(|column| column.size).max().unwrap_or(1);
            self.list.push(Column { name: String::new(), sure: false, size });
            return;
        }
        for (column, other) in self.list.iter_mut().zip(other.list) {
            column.size = column.size.max(other.size);
        }
    }
}

/// Columns that can be named here and stand for more than themselves.
pub(super) struct Names<'s> {
    outer: Option<&'s Names<'s>>,
    pub(super) found: HashMap<String, u64>,
    /// The largest of those whose name is not known.
    pub(super) other: u64,
    /// The largest of all: SQLite makes up names too, which only quotes can spell.
    largest: u64,
}

/// What a column's name stands for.
pub(super) fn lookup(token: &Token<'_>, names: Option<&Names<'_>>) -> u64 {
    let (mut size, mut frame, mut name) = (1, names, None);
    while let Some(names) = frame {
        if !names.found.is_empty() || names.other > 1 {
            let name = name.get_or_insert_with(|| token.name());
            let other = if token.kind == Kind::Quoted { names.largest } else { names.other };
            size = size.max(names.found.get(name).copied().unwrap_or(other));
        }
        frame = names.outer;
    }
    size
}

/// What `FROM` has named so far.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) cost: Cost,
    pub(super) width: u64,
    found: HashMap<String, u64>,
    other: u64,
    largest: u64,
    /// For each compound query among them its terms but one, and what it comes to by itself.
    pub(super) compounds: Vec<(u64, u64, u64)>,
    /// Expressions among the tables, which may name the columns of all of them.
    pub(super) expressions: Vec<(usize, usize)>,
}

impl Sources {
    pub(super) fn add(&mut self, source: &Cost) {
        self.cost.add(source);
        if source.sources == 0 {
            self.cost.sources = self.cost.sources.saturating_add(1);
        }
        self.width = self.width.saturating_add(source.width);
        if source.terms > 1 {
            self.cost.terms = self.cost.terms.max(source.terms);
            self.compounds.push((source.terms - 1, source.sources, source.size));
        }
        for column in source.columns.list.iter().filter(|column| column.size > 1) {
            self.largest = self.largest.max(column.size);
            if !column.name.is_empty() {
                let size = self.found.entry(column.name.clone()).or_default();
                *size = column.size.max(*size);
            }
            if !column.sure {
                self.other = self.other.max(column.size);
            }
        }
    }

    /// SQLite merges a query with each term of a compound query that it reads, and copies its conditions into each: adds
    /// what that comes to, once the rest of the query is known.
    pub(super) fn merge_compounds(compounds: &[(u64, u64, u64)], cost: &mut Cost) {
        let (sources, size) = (cost.sources, cost.size);
        for (copies, own_sources, own_size) in compounds {
            let more = sources.saturating_sub(*own_sources).saturating_mul(*copies);
            cost.sources = cost.sources.saturating_add(more);
            cost.size = cost.size.saturating_add(size.saturating_sub(*own_size).saturating_mul(*copies));
        }
    }

    pub(super) fn names<'s>(&mut self, outer: Option<&'s Names<'s>>) -> Names<'s> {
        Names { outer, found: std::mem::take(&mut self.found), other: self.other, largest: self.largest }
    }
}
