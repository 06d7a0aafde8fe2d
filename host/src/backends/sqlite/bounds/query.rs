//! How much a statement is once SQLite has put every view and common table expression in its place.
//!
//! SQLite copies the text behind a name wherever the name stands, and where it merges a subquery into the one around it
//! also the expression behind every column. Both double with each step of a chain, so both are counted here as if
//! everything was copied. Each token is looked at once, whatever the count comes to.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::cost::{Column, Columns, Cost, Names, Sources, lookup};
use super::schema::Facts;
use super::tokens::{Key, Kind, Token};
use super::{Bounds, Limit, Over};

/// The sources that a window function counts for: SQLite makes a subquery of each.
const WINDOW: u64 = 8;

/// The sources that a `LIKE` or `GLOB` counts for: each may take most of a second over the largest value, in which nothing
/// stops it.
const PATTERN: u64 = 16;

/// The columns of a table that is not known.
const USUAL_WIDTH: u64 = 16;

/// Common table expressions that can be named here.
struct Frame<'s> {
    outer: Option<&'s Frame<'s>>,
    /// The columns that can be named where they are defined.
    names: Option<&'s Names<'s>>,
    list: RefCell<Vec<Common>>,
}

struct Common {
    name: String,
    columns: Vec<String>,
    body: (usize, usize),
    cost: State,
}

pub(super) enum State {
    Unread,
    /// It is being read: what names it now is recursive, and not copied.
    Reading,
    Read(Arc<Cost>),
}

#[derive(Clone, Copy)]
struct Scope<'s> {
    common: Option<&'s Frame<'s>>,
    names: Option<&'s Names<'s>>,
    depth: u32,
}

impl Scope<'_> {
    fn below(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }
}

/// Reads the tokens of one text.
pub(super) struct Reader<'a> {
    tokens: &'a [Token<'a>],
    /// For each opening parenthesis the token that closes it, or the end.
    close: Vec<usize>,
    /// The most parentheses that are open at once, also where no name leads to them.
    deepest: usize,
    facts: &'a Facts,
    bounds: &'a Bounds,
    common: Cell<u32>,
    targets: RefCell<Vec<String>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(tokens: &'a [Token<'a>], facts: &'a Facts, bounds: &'a Bounds) -> Self {
        let mut close = vec![tokens.len(); tokens.len()];
        let (mut open, mut deepest) = (Vec::new(), 0);
        for (at, token) in tokens.iter().enumerate() {
            match token.kind {
                Kind::Sign(b'(') => {
                    open.push(at);
                    deepest = deepest.max(open.len());
                }
                Kind::Sign(b')') => {
                    if let Some(place) = open.pop().and_then(|open| close.get_mut(open)) {
                        *place = at;
                    }
                }
                _ => {}
            }
        }
        Self { tokens, close, deepest, facts, bounds, common: Cell::new(0), targets: RefCell::default() }
    }

    /// The statement from this token up to that one, `depth` levels down.
    pub(super) fn statement(&self, from: usize, to: usize, depth: u32) -> Result<Cost, Over> {
        if self.deepest > usize::try_from(self.bounds.nesting).unwrap_or(usize::MAX) {
            return Err(Over::of(Limit::Nesting));
        }
        self.query(from, to, Scope { common: None, names: None, depth })
    }

    /// The tables that the statements read so far write to.
    pub(super) fn take_targets(&self) -> Vec<String> {
        self.targets.take()
    }

    /// The parts that semicolons make of the text.
    pub(super) fn units(&self) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        let mut first = 0;
        for at in self.outside(0, self.tokens.len()) {
            if self.at(at).is_some_and(|token| token.is_sign(b';')) {
                found.push((first, at));
                first = at + 1;
            }
        }
        found.push((first, self.tokens.len()));
        found.retain(|(from, to)| from < to);
        found
    }

    pub(super) fn at(&self, at: usize) -> Option<&Token<'a>> {
        self.tokens.get(at)
    }

    fn is(&self, at: usize, key: Key) -> bool {
        self.at(at).is_some_and(|token| token.is(key))
    }

    fn is_sign(&self, at: usize, sign: u8) -> bool {
        self.at(at).is_some_and(|token| token.is_sign(sign))
    }

    fn is_name(&self, at: usize) -> bool {
        self.at(at).is_some_and(Token::is_name)
    }

    /// The tokens of this range that stand in no parentheses within it.
    pub(super) fn outside(&self, from: usize, to: usize) -> impl Iterator<Item = usize> + '_ {
        let step = move |at: usize| if self.is_sign(at, b'(') { self.closing(at) + 1 } else { at + 1 };
        std::iter::successors(Some(from), move |at| Some(step(*at))).take_while(move |at| *at < to)
    }

    pub(super) fn closing(&self, open: usize) -> usize {
        self.close.get(open).copied().unwrap_or(self.tokens.len())
    }

    fn begins_query(&self, at: usize) -> bool {
        self.is(at, Key::Select) || self.is(at, Key::Values) || self.is(at, Key::With)
    }

    fn check(&self, depth: u32) -> Result<(), Over> {
        if depth > self.bounds.nesting { Err(Over::of(Limit::Nesting)) } else { Ok(()) }
    }

    /// A query or any other statement: what comes before `SELECT`, then the terms of the compound.
    fn query(&self, from: usize, to: usize, scope: Scope<'_>) -> Result<Cost, Over> {
        self.check(scope.depth)?;
        let frame;
        let (mut first, mut scope) = (from, scope);
        if self.is(from, Key::With) {
            let (list, after) = self.common_tables(from + 1, to)?;
            frame = Frame { outer: scope.common, names: scope.names, list: RefCell::new(list) };
            (first, scope.common) = (after, Some(&frame));
        }
        let starts = |at: &usize| {
            let defaults = self.is(*at, Key::Values) && *at > first && self.is(*at - 1, Key::Default);
            self.begins_query(*at) && !defaults
        };
        let Some(start) = self.outside(first, to).find(starts) else { return self.term(first, to, scope) };
        let mut cost = self.expression(first, start, scope)?;
        if self.is(start, Key::With) {
            let inner = self.query(start, to, scope.below())?;
            cost.add(&inner);
            return Ok(Cost { width: inner.width, terms: inner.terms, columns: inner.columns, ..cost });
        }
        let mut at = start;
        while at < to {
            let compound = |at: &usize| [Key::Union, Key::Except, Key::Intersect].iter().any(|key| self.is(*at, *key));
            let end = self.outside(at, to).find(compound).unwrap_or(to);
            let term = self.term(at, end, scope)?;
            cost.add(&term);
            cost.terms = cost.terms.saturating_add(term.terms);
            if at == start {
                (cost.width, cost.columns) = (term.width, term.columns);
            } else {
                cost.columns.merge(term.columns);
            }
            at = end + 1;
            if self.at(at).is_some_and(|token| token.text.eq_ignore_ascii_case("all")) {
                at += 1;
            }
        }
        Ok(cost)
    }

    /// What stands between `WITH` and the statement, and where that begins.
    fn common_tables(&self, from: usize, to: usize) -> Result<(Vec<Common>, usize), Over> {
        let mut found = Vec::new();
        let mut at = from;
        // A common table expression may be called `recursive` as well.
        if self.is(at, Key::Recursive) && self.is_name(at + 1) {
            at += 1;
        }
        while at < to {
            let Some(name) = self.at(at).filter(|token| token.is_name()).map(Token::name) else { break };
            at += 1;
            let mut columns = Vec::new();
            if self.is_sign(at, b'(') {
                let names = (at + 1)..self.closing(at);
                columns.extend(names.filter_map(|at| self.at(at)).filter(|token| token.is_name()).map(Token::name));
                at = self.closing(at) + 1;
            }
            while self.is(at, Key::As) || self.is(at, Key::Not) || self.is(at, Key::Materialized) {
                at += 1;
            }
            if !self.is_sign(at, b'(') {
                break;
            }
            self.common.set(self.common.get() + 1);
            if self.common.get() > self.bounds.common_tables {
                return Err(Over::of(Limit::CommonTables));
            }
            found.push(Common { name, columns, body: (at + 1, self.closing(at)), cost: State::Unread });
            at = self.closing(at) + 1;
            if !self.is_sign(at, b',') {
                break;
            }
            at += 1;
        }
        Ok((found, at.min(to)))
    }

    /// One `SELECT`, `VALUES`, `UPDATE` or `DELETE`, or any other statement.
    fn term(&self, from: usize, to: usize, scope: Scope<'_>) -> Result<Cost, Over> {
        let tables = |at: &usize| {
            // `IS DISTINCT FROM` is an operator.
            let operator = *at >= from + 2
                && self.is(*at - 1, Key::Distinct)
                && (self.is(*at - 2, Key::Is) || self.is(*at - 2, Key::Not));
            self.is(*at, Key::From) && !operator
        };
        let ends = [Key::Where, Key::Group, Key::Having, Key::Order, Key::Limit];
        let ends = |at: &usize| ends.iter().any(|key| self.is(*at, *key));
        let start = self.outside(from, to).find(tables);
        let rest = self.outside(start.unwrap_or(from), to).find(ends).unwrap_or(to);
        let mut sources = Sources::default();
        if let Some(start) = start {
            if start > from && self.is(start - 1, Key::Delete) {
                self.target(start + 1);
            }
            self.sources(start + 1, rest, scope, &mut sources)?;
        }
        if self.is(from, Key::Update) {
            // Its columns can be named like those of a source.
            let name = if self.is(from + 1, Key::Or) { from + 3 } else { from + 1 };
            let qualified = self.is_sign(name + 1, b'.') && self.is_name(name + 2);
            if self.is_name(name) {
                let target = self.source(if qualified { name + 2 } else { name }, qualified, scope)?;
                sources.add(&target);
            }
        }
        let names = sources.names(scope.names);
        let inner = Scope { names: Some(&names), ..scope };
        let mut cost = std::mem::take(&mut sources.cost);
        for (from, to) in std::mem::take(&mut sources.expressions) {
            cost.add(&self.expression(from, to, inner)?);
        }
        cost.add(&self.expression(rest, to, inner)?);
        let head = start.unwrap_or(rest);
        if self.is(from, Key::Select) {
            self.answers(from + 1, head, inner, sources.width, &mut cost)?;
        } else {
            let values = self.expression(from, head, inner)?;
            cost.add(&values);
            cost.width = 1;
            cost.columns.list.push(Column { name: String::new(), sure: false, size: values.size });
            cost.columns.starred = true;
        }
        cost.terms = cost.terms.max(1);
        Sources::merge_compounds(&sources.compounds, &mut cost);
        Ok(cost)
    }

    /// The list behind `SELECT`.
    fn answers(&self, from: usize, to: usize, scope: Scope<'_>, width: u64, cost: &mut Cost) -> Result<(), Over> {
        let mut first = from;
        let commas: Vec<usize> = self.outside(from, to).filter(|at| self.is_sign(*at, b',')).chain([to]).collect();
        for end in commas {
            let last = end.saturating_sub(1);
            let star = first < end && self.is_sign(last, b'*') && (last == first || !self.is_operand(last - 1));
            if star {
                cost.width = cost.width.saturating_add(width);
                cost.size = cost.size.saturating_add(width);
                cost.columns.starred = true;
                if let Some(names) = scope.names {
                    let named = names.found.iter().map(|(name, size)| (name.clone(), true, *size));
                    let all = named.chain((names.other > 1).then(|| (String::new(), false, names.other)));
                    cost.columns.list.extend(all.map(|(name, sure, size)| Column { name, sure, size }));
                }
            } else if first < end {
                let column = self.expression(first, end, scope)?;
                cost.add(&column);
                cost.width = cost.width.saturating_add(1);
                let name = self.at(last).filter(|token| token.is_name()).map(Token::name);
                let dotted = (first..last).skip(1).step_by(2).all(|at| self.is_sign(at, b'.'));
                let plain = (end - first) % 2 == 1 && dotted;
                let sure = name.is_some() && (plain || (last > first && self.is(last - 1, Key::As)));
                cost.columns.list.push(Column { name: name.unwrap_or_default(), sure, size: column.size });
            }
            first = end + 1;
        }
        Ok(())
    }

    /// Whether a `*` after this token multiplies.
    fn is_operand(&self, at: usize) -> bool {
        let quantifier = |token: &Token<'_>| token.is(Key::Distinct) || token.text.eq_ignore_ascii_case("all");
        self.at(at).is_some_and(|token| !token.is_sign(b'.') && !quantifier(token))
    }

    /// What stands behind `FROM`.
    fn sources(&self, from: usize, to: usize, scope: Scope<'_>, found: &mut Sources) -> Result<(), Over> {
        self.check(scope.depth)?;
        let (mut at, mut expected) = (from, true);
        while at < to {
            if expected && self.is_name(at) {
                let qualified = self.is_sign(at + 1, b'.') && self.is_name(at + 2);
                let name = if qualified { at + 2 } else { at };
                let source = self.source(name, qualified, scope)?;
                found.add(&source);
                at = name + 1;
                if self.is_sign(at, b'(') {
                    found.expressions.push((at + 1, self.closing(at).min(to)));
                    at = self.closing(at) + 1;
                }
                expected = false;
            } else if self.is_sign(at, b'(') {
                let (first, end) = (at + 1, self.closing(at).min(to));
                if !expected {
                    found.expressions.push((first, end));
                } else if self.begins_query(first) {
                    let mut query = self.query(first, end, scope.below())?;
                    query.depth += 1;
                    found.add(&query);
                } else {
                    self.sources(first, end, scope.below(), found)?;
                    found.cost.depth += 1;
                }
                at = end + 1;
                expected = false;
            } else if self.is(at, Key::On) {
                let ends = |at: &usize| self.is(*at, Key::Join) || self.is_sign(*at, b',');
                let end = self.outside(at + 1, to).find(ends).unwrap_or(to);
                found.expressions.push((at + 1, end));
                at = end;
            } else {
                expected |= self.is(at, Key::Join) || self.is_sign(at, b',');
                at += 1;
            }
        }
        Ok(())
    }

    /// The common table expression, view or table of this name.
    fn source(&self, at: usize, qualified: bool, scope: Scope<'_>) -> Result<Arc<Cost>, Over> {
        let name = self.at(at).map(Token::name).unwrap_or_default();
        let mut frame = if qualified { None } else { scope.common };
        while let Some(here) = frame {
            let place = here.list.borrow().iter().position(|common| common.name == name);
            if let Some(place) = place {
                return self.common(here, place, scope);
            }
            frame = here.outer;
        }
        let cost = self.facts.source(&name, scope.depth, self.bounds)?;
        Ok(cost.unwrap_or_else(|| Arc::new(Cost::table(USUAL_WIDTH, Columns::default()))))
    }

    fn common(&self, frame: &Frame<'_>, place: usize, scope: Scope<'_>) -> Result<Arc<Cost>, Over> {
        let itself = || Arc::new(Cost::table(1, Columns::default()));
        let (body, columns) = {
            let mut list = frame.list.borrow_mut();
            let Some(common) = list.get_mut(place) else { return Ok(itself()) };
            match &common.cost {
                State::Read(cost) => {
                    self.check(scope.depth.saturating_add(cost.depth))?;
                    return Ok(Arc::clone(cost));
                }
                State::Reading => return Ok(itself()),
                State::Unread => common.cost = State::Reading,
            }
            (common.body, std::mem::take(&mut common.columns))
        };
        let inside = Scope { common: Some(frame), names: frame.names, depth: scope.depth + 1 };
        let mut cost = self.query(body.0, body.1, inside)?;
        cost.depth += 1;
        if !columns.is_empty() {
            cost.columns = std::mem::take(&mut cost.columns).renamed(&columns);
        }
        let cost = Arc::new(cost);
        if let Some(common) = frame.list.borrow_mut().get_mut(place) {
            common.cost = State::Read(Arc::clone(&cost));
        }
        Ok(cost)
    }

    /// Any tokens that are not `FROM`: columns count for what they stand for, subqueries for what they are.
    fn expression(&self, from: usize, to: usize, scope: Scope<'_>) -> Result<Cost, Over> {
        self.check(scope.depth)?;
        let mut cost = Cost::default();
        let mut at = from;
        while at < to {
            let Some(token) = self.at(at) else { break };
            let mut size = 1;
            match token.kind {
                Kind::Sign(b'(') => {
                    let (first, end) = (at + 1, self.closing(at).min(to));
                    let inner = match self.begins_query(first) {
                        true => self.query(first, end, scope.below())?,
                        false => self.expression(first, end, scope.below())?,
                    };
                    cost.add(&inner);
                    cost.depth = cost.depth.max(inner.depth + 1);
                    at = end;
                }
                // The name of a table may follow instead of a list.
                Kind::Word(Key::In) if self.is_name(at + 1) => {
                    let qualified = self.is_sign(at + 2, b'.') && self.is_name(at + 3);
                    let name = if qualified { at + 3 } else { at + 1 };
                    let source = self.source(name, qualified, scope)?;
                    cost.add(&source);
                    cost.sources = cost.sources.saturating_add(1);
                    at = name;
                }
                Kind::Word(Key::Into) => self.target(at + 1),
                Kind::Word(Key::Update) => {
                    let name = if self.is(at + 1, Key::Or) { at + 3 } else { at + 1 };
                    if !self.is(name, Key::Of) && !self.is(name, Key::On) {
                        self.target(name);
                    }
                }
                Kind::Word(Key::Over) if self.is_sign(at + 1, b'(') || self.is_name(at + 1) => {
                    cost.sources = cost.sources.saturating_add(WINDOW);
                }
                Kind::Word(Key::Like) => cost.sources = cost.sources.saturating_add(PATTERN),
                // Before a parenthesis stands a function, before a dot a table.
                Kind::Word(_) | Kind::Quoted
                    if token.is_name() && !self.is_sign(at + 1, b'(') && !self.is_sign(at + 1, b'.') =>
                {
                    size = lookup(token, scope.names);
                }
                _ => {}
            }
            cost.size = cost.size.saturating_add(size);
            at += 1;
        }
        Ok(cost)
    }

    /// Notes the table that is written to.
    fn target(&self, at: usize) {
        if self.is_name(at) {
            let qualified = self.is_sign(at + 1, b'.') && self.is_name(at + 2);
            let name = self.at(if qualified { at + 2 } else { at }).map(Token::name);
            self.targets.borrow_mut().extend(name);
        }
    }
}
