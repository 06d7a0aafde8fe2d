//! What the tables, views and triggers of a store add to the statements that name them.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::cost::{Column, Columns, Cost};
use super::graph::Graph;
use super::query::{Reader, State};
use super::tokens::{Key, Token, scan};
use super::{Bounds, Limit, Over};

/// One row of `sqlite_schema`.
#[derive(Debug)]
pub(in super::super) struct Object {
    /// `table`, `index`, `view` or `trigger`.
    pub(in super::super) kind: String,
    /// Its name.
    pub(in super::super) name: String,
    /// The table that it is on.
    pub(in super::super) on: String,
    /// Its text; empty for what SQLite made by itself.
    pub(in super::super) sql: String,
}

/// A store's schema as far as it was asked for: each text is read when a statement first names it.
#[derive(Default)]
pub(in super::super) struct Facts {
    sources: HashMap<String, Source>,
    triggers: Vec<Object>,
    indexes: BTreeMap<String, u32>,
    writes: RefCell<Option<Arc<Graph>>>,
}

struct Source {
    name: String,
    sql: String,
    view: bool,
    cost: RefCell<State>,
}

impl Facts {
    pub(in super::super) fn new(objects: Vec<Object>) -> Self {
        let mut facts = Self::default();
        for object in objects {
            match object.kind.as_str() {
                "table" | "view" => {
                    let view = object.kind == "view";
                    let source = Source { name: object.name, sql: object.sql, view, cost: RefCell::new(State::Unread) };
                    facts.sources.insert(source.name.to_ascii_lowercase(), source);
                }
                "trigger" => facts.triggers.push(object),
                _ => *facts.indexes.entry(object.on).or_default() += 1,
            }
        }
        facts
    }

    /// What a table or view comes to that is named `depth` levels down; nothing where there is none of this name.
    pub(super) fn source(&self, name: &str, depth: u32, bounds: &Bounds) -> Result<Option<Arc<Cost>>, Over> {
        let Some(source) = self.sources.get(name) else { return Ok(None) };
        match &*source.cost.borrow() {
            State::Read(cost) if depth.saturating_add(cost.depth) > bounds.nesting => {
                return Err(Over::of(Limit::Nesting).at("view", &source.name));
            }
            State::Read(cost) => return Ok(Some(Arc::clone(cost))),
            // It names itself, which SQLite refuses.
            State::Reading => return Ok(None),
            State::Unread => {}
        }
        source.cost.replace(State::Reading);
        let tokens = scan(&source.sql);
        let cost = match source.view {
            true => self
                .view(&tokens, depth + 1, bounds)
                .and_then(|cost| bounds.check(&cost, tokens.len()).map(|()| cost))
                .map_err(|over| over.at("view", &source.name)),
            false => table(&tokens, bounds).map_err(|over| over.at("table", &source.name)),
        };
        // Where it was too deep here, it may not be elsewhere.
        source.cost.replace(State::Unread);
        let cost = Arc::new(cost?);
        source.cost.replace(State::Read(Arc::clone(&cost)));
        Ok(Some(cost))
    }

    fn view(&self, tokens: &[Token<'_>], depth: u32, bounds: &Bounds) -> Result<Cost, Over> {
        let reader = Reader::new(tokens, self, bounds);
        let end = tokens.len();
        let Some(start) = reader.outside(0, end).find(|at| reader.at(*at).is_some_and(|token| token.is(Key::As)))
        else {
            return Ok(Cost::default());
        };
        let mut cost = reader.statement(start + 1, end, depth)?;
        cost.depth += 1;
        let list = tokens.iter().take(start).position(|token| token.is_sign(b'('));
        if let Some(open) = list {
            let names = tokens.get(open..start).unwrap_or_default().iter().filter(|token| token.is_name());
            let names: Vec<String> = names.map(Token::name).collect();
            cost.columns = std::mem::take(&mut cost.columns).renamed(&names);
        }
        Ok(cost)
    }

    /// Whether a write may bring about another one.
    pub(super) fn has_writes(&self) -> bool {
        !self.sources.is_empty()
    }

    /// Which tables a write to each table goes on to write to.
    pub(super) fn writes(&self, bounds: &Bounds) -> Result<Arc<Graph>, Over> {
        if let Some(graph) = &*self.writes.borrow() {
            return Ok(Arc::clone(graph));
        }
        let mut graph = Graph::default();
        for trigger in &self.triggers {
            let over = |over: Over| over.at("trigger", &trigger.name);
            let tokens = scan(&trigger.sql);
            let reader = Reader::new(&tokens, self, bounds);
            let mut cost = 1;
            for (from, to) in reader.units() {
                let unit = reader.statement(from, to, 1).map_err(over)?;
                bounds.check(&unit, to - from).map_err(over)?;
                cost += unit.sources + 1;
            }
            graph.add(&trigger.on.to_ascii_lowercase(), &reader.take_targets(), cost);
        }
        for (child, source) in self.sources.iter().filter(|(_, source)| !source.view) {
            let tokens = scan(&source.sql);
            for parent in parents(&tokens) {
                graph.add(&parent, std::slice::from_ref(child), 2);
            }
        }
        graph.measure();
        let graph = Arc::new(graph);
        self.writes.replace(Some(Arc::clone(&graph)));
        Ok(graph)
    }

    /// Whether every part of the schema is within the bounds by itself.
    pub(super) fn check(&self, bounds: &Bounds) -> Result<(), Over> {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        if count(self.sources.len()) > bounds.tables {
            return Err(Over::of(Limit::Tables));
        }
        if count(self.triggers.len()) > bounds.triggers {
            return Err(Over::of(Limit::Triggers));
        }
        if let Some((table, _)) = self.indexes.iter().find(|(_, count)| **count > bounds.indexes) {
            return Err(Over::of(Limit::Indexes).at("table", table));
        }
        let mut names: Vec<_> = self.sources.iter().collect();
        names.sort_by_key(|(name, _)| *name);
        for (name, _) in names {
            self.source(name, 0, bounds)?;
        }
        let graph = self.writes(bounds)?;
        let named: HashSet<&str> = graph.names().collect();
        let mut named: Vec<&str> = named.into_iter().collect();
        named.sort_unstable();
        for name in named {
            let shown = self.sources.get(name).map_or(name, |source| &source.name);
            graph.check(name, bounds).map_err(|over| over.at("table", shown))?;
        }
        Ok(())
    }
}

/// A table: a column that is generated counts for its expression, and for those of the columns in it.
pub(super) fn table(tokens: &[Token<'_>], bounds: &Bounds) -> Result<Cost, Over> {
    let nothing = Facts::default();
    let reader = Reader::new(tokens, &nothing, bounds);
    let Some(open) = tokens.iter().position(|token| token.is_sign(b'(')) else {
        return Ok(Cost::table(1, Columns::default()));
    };
    let end = reader.closing(open);
    let mut columns = Vec::new();
    let mut first = open + 1;
    let commas = reader.outside(open + 1, end).filter(|at| reader.at(*at).is_some_and(|token| token.is_sign(b',')));
    for end in commas.chain([end]) {
        if let Some(name) = tokens.get(first).map(Token::name).filter(|_| first < end) {
            let open = reader.outside(first, end).find(|at| {
                reader.at(*at).is_some_and(|token| token.is(Key::As))
                    && reader.at(at + 1).is_some_and(|token| token.is_sign(b'('))
            });
            columns.push((name, open.map(|at| (at + 2, reader.closing(at + 1)))));
        }
        first = end + 1;
    }
    let width = u64::try_from(columns.len()).unwrap_or(u64::MAX);
    if columns.iter().all(|(_, expression)| expression.is_none()) {
        return Ok(Cost::table(width, Columns::default()));
    }
    let places = columns.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
    let mut generated = Generated { tokens, columns: &columns, places, found: vec![None; columns.len()], bounds };
    let mut list = Vec::new();
    for (at, (name, _)) in columns.iter().enumerate() {
        list.push(Column { name: name.clone(), sure: true, size: generated.measure(at, 0)?.0 });
    }
    Ok(Cost::table(width, Columns { list, starred: false }))
}

/// The columns of one table while they are measured.
struct Generated<'a> {
    tokens: &'a [Token<'a>],
    columns: &'a [(String, Option<(usize, usize)>)],
    places: HashMap<String, usize>,
    /// For each column how many tokens it stands for, and through how many others.
    found: Vec<Option<(u64, u32)>>,
    bounds: &'a Bounds,
}

impl Generated<'_> {
    fn measure(&mut self, at: usize, depth: u32) -> Result<(u64, u32), Over> {
        if let Some(found) = self.found.get(at).copied().flatten() {
            return Ok(found);
        }
        let Some((name, Some((from, to)))) = self.columns.get(at) else { return Ok((1, 0)) };
        let (mut size, mut below) = (0_u64, 0);
        // One that stands for itself is refused by SQLite.
        self.keep(at, (1, 0));
        for token in self.tokens.get(*from..*to).unwrap_or_default() {
            let inner = if token.is_name() { self.places.get(&token.name()).copied() } else { None };
            let inner = match inner {
                Some(_) if depth > self.bounds.nesting => return Err(Over::of(Limit::Nesting)),
                Some(inner) => self.measure(inner, depth + 1)?,
                None => (1, 0),
            };
            (size, below) = (size.saturating_add(inner.0), below.max(inner.1));
        }
        let limit = match (size > u64::from(self.bounds.references), below >= self.bounds.nesting) {
            (true, _) => Limit::References,
            (_, true) => Limit::Nesting,
            _ => {
                self.keep(at, (size, below + 1));
                return Ok((size, below + 1));
            }
        };
        Err(Over::of(limit).at("generated column", name))
    }

    fn keep(&mut self, at: usize, found: (u64, u32)) {
        if let Some(place) = self.found.get_mut(at) {
            *place = Some(found);
        }
    }
}

/// The tables whose changes go on to the rows of this one.
fn parents(tokens: &[Token<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in tokens.iter().enumerate().filter(|(_, token)| token.is(Key::References)) {
        let rest = tokens.get(at + 1..).unwrap_or_default();
        // `ON DELETE CASCADE`, `ON UPDATE SET NULL` and so on.
        let acts = rest
            .iter()
            .take_while(|token| !token.is(Key::References))
            .any(|token| token.is(Key::Set) || token.text.eq_ignore_ascii_case("cascade"));
        if acts {
            found.extend(rest.first().filter(|token| token.is_name()).map(Token::name));
        }
    }
    found
}
