//! What SQL may ask of SQLite's compiler, which nothing can stop while it runs: it recurses over whatever is nested, and
//! copies whatever stands behind a name to each place that names it. So text is measured before it is compiled, together
//! with the views and triggers of the store as they are then, and a schema is measured after each change of it.

mod cost;
mod graph;
mod query;
mod schema;
mod tokens;

#[cfg(test)]
mod tests;

pub(super) use schema::{Facts, Object};

use cost::Cost;
use query::Reader;
use tokens::{Key, Token, scan, scan_first};

pub(super) use super::settings::SqlLimits as Bounds;
use crate::backends::sql::SqlError;

/// One of the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    Nesting,
    CommonTables,
    Sources,
    References,
    Tables,
    Indexes,
    Triggers,
    TriggerChain,
}

/// A limit that was exceeded, and by what where it is not the statement itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Over {
    limit: Limit,
    object: Option<String>,
}

impl Over {
    const fn of(limit: Limit) -> Self {
        Self { limit, object: None }
    }

    /// Names the innermost object that it was found in.
    fn at(self, kind: &str, name: &str) -> Self {
        Self { object: self.object.or_else(|| Some(format!("the {kind} `{name}`"))), ..self }
    }

    fn into_error(self, subject: &str, bounds: &Bounds) -> SqlError {
        let (limit, most, does) = match self.limit {
            Limit::Nesting => ("nesting", bounds.nesting, "nests deeper than {} levels"),
            Limit::CommonTables => ("common_tables", bounds.common_tables, "has more than {} common table expressions"),
            Limit::Sources => {
                ("sources", bounds.sources, "reads more than {} tables with its views and the like in their places")
            }
            Limit::References => (
                "references",
                bounds.references,
                "grows by more than {} tokens with its views and the like in their places",
            ),
            Limit::Tables => ("tables", bounds.tables, "has more than {} tables and views"),
            Limit::Indexes => ("indexes", bounds.indexes, "has more than {} indexes"),
            Limit::Triggers => ("triggers", bounds.triggers, "has more than {} triggers"),
            Limit::TriggerChain => {
                ("trigger_chain", bounds.trigger_chain, "sets off a chain of more than {} triggers and foreign keys")
            }
        };
        let subject = self.object.as_deref().unwrap_or(subject);
        let does = does.replace("{}", &most.to_string());
        SqlError::Limit { limit, sentence: format!("{subject} {does} (database.sqlite.limits.{limit})") }
    }
}

impl Bounds {
    /// Whether something of so many tokens is within the bounds when everything in it is in its place.
    fn check(&self, cost: &Cost, tokens: usize) -> Result<(), Over> {
        let tokens = u64::try_from(tokens).unwrap_or(u64::MAX);
        if cost.sources > u64::from(self.sources) {
            return Err(Over::of(Limit::Sources));
        }
        if cost.size.saturating_sub(tokens) > u64::from(self.references) {
            return Err(Over::of(Limit::References));
        }
        Ok(())
    }
}

/// Measures every statement of a text; answers the first limit that one exceeds.
pub(super) fn check(sql: &str, facts: &Facts, bounds: &Bounds) -> Result<(), SqlError> {
    measure(&scan(sql), facts, bounds).map_err(|over| over.into_error("the statement", bounds))
}

/// What must be known of the schema before a statement is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: SQLite only reads its text.
    Nothing,
    /// What it names.
    Facts,
    /// That all of it is within the bounds: SQLite goes through every view and trigger.
    Schema,
}

/// The first statement of a script.
pub(super) struct First<'a>(Vec<Token<'a>>);

impl<'a> First<'a> {
    pub(super) fn of(script: &'a str) -> Self {
        Self(scan_first(script))
    }

    pub(super) fn needs(&self) -> Needs {
        let mut tokens = self.0.iter().skip_while(|token| token.is_sign(b';'));
        match tokens.next() {
            None => Needs::Nothing,
            Some(token) if token.is(Key::Create) => match tokens.any(|token| token.is(Key::Select)) {
                true => Needs::Facts,
                false => Needs::Nothing,
            },
            Some(token) if token.text.eq_ignore_ascii_case("alter") => Needs::Schema,
            Some(_) => Needs::Facts,
        }
    }

    /// Measures it. SQLite reads a table once as it is made, which compiles the columns that are generated.
    pub(super) fn check(&self, facts: &Facts, bounds: &Bounds) -> Result<(), SqlError> {
        let created = self.created();
        let subject = || {
            created.as_ref().map_or_else(|| "the statement".to_owned(), |(kind, name)| format!("the {kind} `{name}`"))
        };
        let over = |over: Over| over.into_error(&subject(), bounds);
        measure(&self.0, facts, bounds).map_err(over)?;
        if matches!(created, Some(("table", _))) {
            schema::table(&self.0, bounds).map_err(over)?;
        }
        Ok(())
    }

    /// The kind and the name of the object that it creates.
    fn created(&self) -> Option<(&'static str, String)> {
        let mut tokens = self.0.iter().skip_while(|token| token.is_sign(b';'));
        tokens.next().filter(|token| token.is(Key::Create))?;
        // Behind CREATE stand at most TEMP or UNIQUE, the kind, IF NOT EXISTS, and the name, perhaps behind that of the schema.
        let mut rest = tokens.take(8).skip_while(|token| token.kind_of_object().is_none());
        let kind = rest.next().and_then(Token::kind_of_object)?;
        let mut names = rest.skip_while(|token| {
            token.is(Key::Not) || ["if", "exists"].iter().any(|word| token.text.eq_ignore_ascii_case(word))
        });
        let first = names.next()?;
        let name = match names.next() {
            Some(dot) if dot.is_sign(b'.') => names.next()?,
            _ => first,
        };
        Some((kind, name.text.trim_matches(['"', '`', '[', ']', '\'']).to_owned()))
    }
}

/// Measures a schema.
pub(super) fn check_schema(facts: &Facts, bounds: &Bounds) -> Result<(), SqlError> {
    facts.check(bounds).map_err(|over| over.into_error("the store", bounds))
}

fn measure(tokens: &[Token<'_>], facts: &Facts, bounds: &Bounds) -> Result<(), Over> {
    let reader = Reader::new(tokens, facts, bounds);
    for (from, to) in reader.units() {
        let mut cost = reader.statement(from, to, 1)?;
        let targets = reader.take_targets();
        if !targets.is_empty() && facts.has_writes() {
            let writes = facts.writes(bounds)?;
            for table in targets {
                let more = writes.check(&table, bounds).map_err(|over| over.at("write to", &table))?;
                cost.sources = cost.sources.saturating_add(more);
            }
        }
        bounds.check(&cost, to - from)?;
    }
    Ok(())
}
