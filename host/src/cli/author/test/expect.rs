//! Where an answer is not what was expected.

use serde_json::Value;

use super::calls::{ANY, NONE, Variables, WantedProblem, variable};
use super::told::one_line;
use crate::problem::Problem;

/// Adds every place where `actual` lacks what is wanted. Objects may have more members than wanted; lists are as long.
pub(super) fn value(wanted: &Value, actual: &Value, variables: &Variables, differences: &mut Vec<String>) {
    at("", wanted, Some(actual), variables, differences);
}

fn at(path: &str, wanted: &Value, actual: Option<&Value>, variables: &Variables, differences: &mut Vec<String>) {
    let differs = |wanted: &dyn std::fmt::Display, differences: &mut Vec<String>| {
        let place = if path.is_empty() { String::new() } else { format!("at {path}\n") };
        let actual = actual.map_or_else(|| "nothing".to_owned(), Value::to_string);
        differences.push(format!("{place}- {wanted}\n+ {actual}"));
    };
    match (wanted, actual) {
        (Value::String(text), actual) if variable(text) == Some(ANY) => {
            if actual.is_none_or(Value::is_null) {
                differs(&"any value", differences);
            }
        }
        (Value::String(text), actual) if variable(text) == Some(NONE) => {
            if actual.is_some_and(|actual| !actual.is_null()) {
                differs(&"no value", differences);
            }
        }
        (Value::Object(fields), Some(actual @ Value::Object(_))) => {
            for (key, wanted) in fields {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                at(&path, wanted, actual.get(key), variables, differences);
            }
        }
        (Value::Array(items), Some(Value::Array(actual))) if items.len() == actual.len() => {
            for (index, (wanted, actual)) in items.iter().zip(actual).enumerate() {
                at(&format!("{path}[{index}]"), wanted, Some(actual), variables, differences);
            }
        }
        (wanted, actual) => match variables.fill(wanted) {
            Ok(filled) if actual.is_some_and(|actual| same(&filled, actual)) => {}
            Ok(filled) => differs(&filled, differences),
            Err(missing) => differences.push(missing),
        },
    }
}

/// Numbers are the same whichever way they are written.
fn same(wanted: &Value, actual: &Value) -> bool {
    match (wanted, actual) {
        (Value::Number(wanted), Value::Number(actual)) if wanted.is_f64() || actual.is_f64() => {
            wanted.as_f64() == actual.as_f64()
        }
        _ => wanted == actual,
    }
}

/// Adds where a problem is another one.
pub(super) fn problem(wanted: &WantedProblem, actual: &Problem, differences: &mut Vec<String>) {
    if wanted.code != actual.code() {
        differences.push(format!("- the problem {}\n+ the problem {}", wanted.code, one_line(actual)));
    }
    if let Some(wanted) = &wanted.fields {
        let mut fields: Vec<&str> = actual.details.iter().map(|detail| detail.field.as_str()).collect();
        let mut wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        fields.sort_unstable();
        wanted.sort_unstable();
        if fields != wanted {
            differences.push(format!("at fields\n- {}\n+ {}", wanted.join(", "), fields.join(", ")));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::problem::{FieldError, Kind};

    fn differences(wanted: &Value, actual: &Value) -> Vec<String> {
        let mut variables = Variables::default();
        variables.save(&[("id".to_owned(), "id".to_owned())].into(), &json!({ "id": "x1" }));
        let mut differences = Vec::new();
        value(wanted, actual, &variables, &mut differences);
        differences
    }

    #[test]
    fn an_answer_may_have_more_and_not_less() {
        let actual = json!({ "id": "x1", "n": 2, "list": [{ "a": 1, "b": null }], "gone": null });
        for good in [
            json!({}),
            json!({ "n": 2.0, "id": "${id}" }),
            json!({ "list": [{ "a": "${any}", "b": "${none}" }], "gone": "${none}", "never": "${none}" }),
        ] {
            assert_eq!(differences(&good, &actual), Vec::<String>::new(), "{good}");
        }
        for (bad, told) in [
            (json!({ "n": 3 }), "at n\n- 3\n+ 2"),
            (json!({ "n": "2" }), "at n\n- \"2\"\n+ 2"),
            (json!({ "list": [] }), "at list\n- []\n+ [{\"a\":1,\"b\":null}]"),
            (json!({ "list": [{ "b": "${any}" }] }), "at list[0].b\n- any value\n+ null"),
            (json!({ "more": 1 }), "at more\n- 1\n+ nothing"),
            (json!({ "n": "${none}" }), "at n\n- no value\n+ 2"),
            (json!({ "id": "${lost}" }), "${lost} was not saved by a call before this one"),
            (json!(1), "- 1\n+ {"),
        ] {
            let told_here = differences(&bad, &actual);
            assert!(told_here.len() == 1 && told_here[0].starts_with(told), "{bad}: {told_here:?}");
        }
        assert_eq!(differences(&json!({ "n": 1, "id": 1 }), &actual).len(), 2, "all of them are told");
    }

    #[test]
    fn a_problem_is_known_by_its_code_and_its_fields() {
        let detail = |field: &str| FieldError { field: field.into(), message: String::new(), code: "X".into() };
        let actual = Problem { details: vec![detail("b"), detail("a")], ..Problem::new(Kind::Conflict, "no") };
        let told = |code: &str, fields: Option<&[&str]>| {
            let fields = fields.map(|fields| fields.iter().map(ToString::to_string).collect());
            let mut differences = Vec::new();
            problem(&WantedProblem { code: code.into(), fields }, &actual, &mut differences);
            differences
        };
        assert_eq!(told("CONFLICT", Some(&["a", "b"])), Vec::<String>::new());
        assert_eq!(told("CONFLICT", None), Vec::<String>::new());
        assert!(told("NOT_FOUND", None)[0].contains("- the problem NOT_FOUND\n+ the problem CONFLICT: no"));
        assert_eq!(told("CONFLICT", Some(&["a"])), ["at fields\n- a\n+ a, b"]);
    }
}
