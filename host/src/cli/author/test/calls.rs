//! The file of calls with the answers that they must get.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::host::Caller;

/// `calls.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CallFile {
    /// The calls, in the order in which they are made.
    #[serde(default)]
    pub(super) calls: Vec<Call>,
}

/// A call.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Table")]
pub(super) struct Call {
    /// What it shows, for people.
    pub(super) name: Option<String>,
    /// `interface.function`.
    pub(super) call: String,
    /// Who calls; nobody where it is absent.
    pub(super) caller: Option<Caller>,
    /// The input; null for none.
    pub(super) args: Value,
    /// What must come of it.
    pub(super) expected: Expected,
    /// Parts of the answer to keep: a name, and the path of the part.
    pub(super) save: BTreeMap<String, String>,
}

/// What must come of a call.
#[derive(Debug)]
pub(super) enum Expected {
    /// An answer, whichever.
    Anything,
    /// An answer with at least this in it.
    Value(Value),
    /// A problem.
    Problem(WantedProblem),
}

/// A problem that must come of a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WantedProblem {
    /// Its code.
    pub(super) code: String,
    /// The fields that are to blame, all of them; not looked at where it is absent.
    pub(super) fields: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: Option<String>,
    call: String,
    #[serde(rename = "as")]
    caller: Option<String>,
    args: Option<toml::Table>,
    expect: Option<toml::Value>,
    #[serde(default, deserialize_with = "problem")]
    problem: Option<WantedProblem>,
    #[serde(default)]
    save: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProblemTable {
    code: String,
    fields: Option<Vec<String>>,
}

fn problem<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<WantedProblem>, D::Error> {
    Ok(Some(match toml::Value::deserialize(deserializer)? {
        toml::Value::String(code) => WantedProblem { code, fields: None },
        other => {
            let ProblemTable { code, fields } = other.try_into().map_err(serde::de::Error::custom)?;
            WantedProblem { code, fields }
        }
    }))
}

impl TryFrom<Table> for Call {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        let Table { name, call, caller, args, expect, problem, save } = table;
        let expected = match (expect, problem) {
            (None, None) => Expected::Anything,
            (Some(value), None) => Expected::Value(to_json(value)),
            (None, Some(problem)) if save.is_empty() => Expected::Problem(problem),
            (None, Some(_)) => return Err(format!("{call}: nothing of a problem can be saved")),
            (Some(_), Some(_)) => return Err(format!("{call}: either `expect` or `problem`")),
        };
        if let Some(name) = save.keys().find(|name| [ANY, NONE].contains(&name.as_str())) {
            return Err(format!("{call}: save.{name}: this name has a meaning of its own"));
        }
        let caller = caller.map(|text| text.parse().map_err(|error| format!("{call}: as: {error}"))).transpose()?;
        let args = args.map_or(Value::Null, |args| to_json(toml::Value::Table(args)));
        Ok(Self { name, call, caller, args, expected, save })
    }
}

impl CallFile {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or says something else than calls; with the line.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let file: Self = toml::from_str(&text).with_context(|| format!("{} cannot be used", path.display()))?;
        if file.calls.is_empty() {
            bail!("{} has no [[calls]]", path.display());
        }
        Ok(file)
    }
}

impl Call {
    /// A call of the command line.
    pub(super) fn direct(call: &str, caller: Option<Caller>) -> Self {
        let (call, args, expected) = (call.to_owned(), Value::Null, Expected::Anything);
        Self { name: None, call, caller, args, expected, save: BTreeMap::new() }
    }

    /// What people know it by.
    pub(super) fn title(&self) -> String {
        let by = self.caller.as_ref().map(|caller| format!(" as {caller}")).unwrap_or_default();
        match &self.name {
            Some(name) => format!("{name} ({}{by})", self.call),
            None => format!("{}{by}", self.call),
        }
    }
}

fn to_json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(value) => Value::Bool(value),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(items) => items.into_iter().map(to_json).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(key, value)| (key, to_json(value))).collect(),
    }
}

/// `${any}` stands for any value that is there.
pub(super) const ANY: &str = "any";
/// `${none}` stands for null, and for nothing at all.
pub(super) const NONE: &str = "none";

/// The name in a text that is nothing but `${name}`.
pub(super) fn variable(text: &str) -> Option<&str> {
    text.strip_prefix("${")?.strip_suffix('}').filter(|name| !name.contains('}'))
}

/// What calls have saved.
#[derive(Debug, Default)]
pub(super) struct Variables(BTreeMap<String, Value>);

impl Variables {
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A value with what was saved in the places of `${name}`: whole where a text is nothing else, inside of texts otherwise.
    ///
    /// # Errors
    /// Names what was not saved.
    pub(super) fn fill(&self, value: &Value) -> Result<Value, String> {
        Ok(match value {
            Value::String(text) => match variable(text) {
                Some(name) => self.get(name).cloned().ok_or_else(|| missing(name))?,
                None => Value::String(self.fill_text(text)?),
            },
            Value::Array(items) => items.iter().map(|item| self.fill(item)).collect::<Result<_, _>>()?,
            Value::Object(fields) => {
                fields.iter().map(|(key, value)| Ok((key.clone(), self.fill(value)?))).collect::<Result<_, String>>()?
            }
            other => other.clone(),
        })
    }

    fn fill_text(&self, text: &str) -> Result<String, String> {
        let (mut out, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, behind)) = after.split_once('}') else { break };
            out.push_str(before);
            match self.get(name).ok_or_else(|| missing(name))? {
                Value::String(text) => out.push_str(text),
                other => out.push_str(&other.to_string()),
            }
            rest = behind;
        }
        out.push_str(rest);
        Ok(out)
    }

    /// Keeps parts of an answer; answers which are not there.
    pub(super) fn save(&mut self, wanted: &BTreeMap<String, String>, answer: &Value) -> Vec<String> {
        let mut missing = Vec::new();
        for (name, path) in wanted {
            match at(answer, path) {
                Some(part) => drop(self.0.insert(name.clone(), part.clone())),
                None => missing.push(format!("save.{name}: the answer has no {path}: {answer}")),
            }
        }
        missing
    }
}

fn missing(name: &str) -> String {
    format!("${{{name}}} was not saved by a call before this one")
}

/// The part at a path such as `items.0.id`; the whole for an empty path.
fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').filter(|step| !step.is_empty()).try_fold(value, |value, step| match value {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        other => other.get(step),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<CallFile, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn the_example_of_the_guide_is_read() {
        let guide = include_str!("../../../../../docs/plugins.md");
        let (_, example) = guide.split_once("```toml\n[[calls]]").unwrap();
        let (example, _) = example.split_once("```").unwrap();
        assert_eq!(read(&format!("[[calls]]{example}")).unwrap().calls.len(), 2);
    }

    #[test]
    fn a_file_says_what_must_come_of_each_call() {
        let file = read(
            "[[calls]]\ncall = \"a.b\"\nas = \"ada:admin\"\nargs = { n = 1, when = 2026-01-01T00:00:00Z }\nexpect = [{ x = 0.5 }]\n\
             [[calls]]\ncall = \"a.c\"\nproblem = \"NOT_FOUND\"\n\
             [[calls]]\nname = \"fields\"\ncall = \"a.c\"\nproblem = { code = \"X\", fields = [\"n\"] }\n",
        )
        .unwrap();
        let [one, two, three] = &file.calls[..] else { panic!("three calls") };
        assert_eq!(one.args, json!({ "n": 1, "when": "2026-01-01T00:00:00Z" }));
        assert!(matches!(&one.expected, Expected::Value(value) if *value == json!([{ "x": 0.5 }])));
        assert_eq!(one.title(), "a.b as ada:admin");
        assert!(matches!(&two.expected, Expected::Problem(problem) if problem.code == "NOT_FOUND"));
        assert_eq!(three.title(), "fields (a.c)");
        assert!(
            matches!(&three.expected, Expected::Problem(WantedProblem { fields: Some(fields), .. }) if *fields == ["n"])
        );
    }

    #[test]
    fn mistakes_in_a_file_are_told() {
        for (text, words) in [
            ("[[calls]]\nname = \"x\"\n", "call"),
            ("[[calls]]\ncall = \"a.b\"\nexpct = 1\n", "expct"),
            ("[[calls]]\ncall = \"a.b\"\nexpect = 1\nproblem = \"X\"\n", "either `expect` or `problem`"),
            ("[[calls]]\ncall = \"a.b\"\nas = \"x:root\"\n", "no role"),
            ("[[calls]]\ncall = \"a.b\"\nsave = { any = \"id\" }\n", "meaning of its own"),
            ("[[calls]]\ncall = \"a.b\"\nproblem = \"X\"\nsave = { a = \"id\" }\n", "nothing of a problem"),
            ("[[calls]]\ncall = \"a.b\"\nproblem = { cod = \"X\" }\n", "cod"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn what_was_saved_is_filled_in() {
        let mut variables = Variables::default();
        let save = BTreeMap::from([("id".to_owned(), "items.0.id".to_owned()), ("all".to_owned(), String::new())]);
        assert!(variables.save(&save, &json!({ "items": [{ "id": 7 }] })).is_empty());
        let filled =
            variables.fill(&json!({ "id": "${id}", "text": "no ${id}, $5 {x}", "list": [["${id}"]] })).unwrap();
        assert_eq!(filled, json!({ "id": 7, "text": "no 7, $5 {x}", "list": [[7]] }));
        assert_eq!(variables.fill(&json!("${all}")).unwrap(), json!({ "items": [{ "id": 7 }] }));
        assert!(variables.fill(&json!("${other}")).unwrap_err().contains("other"));
        let lost = variables.save(&BTreeMap::from([("x".to_owned(), "items.1".to_owned())]), &json!({ "items": [] }));
        assert!(lost[0].contains("save.x"), "{lost:?}");
    }
}
