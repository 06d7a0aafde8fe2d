//! Types as JSON Schema (2020-12): exactly what `contract::json` reads on the side of requests, and what it writes on the
//! side of answers. Members that a request has beyond those are ignored, so that no schema forbids them.

use super::super::json::MAX_BYTES;
use super::super::names::camel;
use super::super::types::{Field, Label, Labels, Presence, Record, Type, Variant};
use super::components::{Components, Side};
use super::example;
use super::node::{Node, Object};

/// The schema of base64 texts, which all `list<u8>` refer to.
pub(super) const BYTES: &str = "Base64";

/// The smallest number that is too large for an f32: halfway between the largest one and the next power of two.
const F32_LIMIT: f64 = 3.402_823_567_797_336_6e38;

/// What a document has under `components.schemas` for its types.
pub(super) struct Schemas<'s, 'a>(pub(super) &'s Components<'a>);

impl Schemas<'_, '_> {
    /// The schema of a value of this type: a reference where the type has a name.
    pub(super) fn of(&self, ty: &Type, side: Side) -> Object {
        if let Some(key) = self.0.key(ty, side) {
            return reference(key);
        }
        match ty {
            Type::Bool => typed("boolean"),
            Type::S8 => integer("int8", i8::MIN, i8::MAX),
            Type::U8 => integer("uint8", u8::MIN, u8::MAX),
            Type::S16 => integer("int16", i16::MIN, i16::MAX),
            Type::U16 => integer("uint16", u16::MIN, u16::MAX),
            Type::S32 => integer("int32", i32::MIN, i32::MAX),
            Type::U32 => integer("uint32", u32::MIN, u32::MAX),
            Type::S64 => integer("int64", i64::MIN, i64::MAX),
            Type::U64 => typed("integer").with("format", "uint64").with("minimum", 0_u64).with("maximum", u64::MAX),
            Type::F32 => float(
                typed("number")
                    .with("format", "float")
                    .with("exclusiveMinimum", -F32_LIMIT)
                    .with("exclusiveMaximum", F32_LIMIT),
            ),
            Type::F64 => float(typed("number").with("format", "double")),
            Type::Char => typed("string").with("minLength", 1_u64).with("maxLength", 1_u64),
            Type::String => typed("string"),
            Type::Bytes => reference(BYTES),
            Type::List(item) => typed("array").with("items", self.of(item, side)),
            Type::Option(option) if option.wrapped => {
                let inner = Object::new().with("value", self.of(&option.inner, side));
                let some = Object::new().with("type", Node::from_iter(["object", "null"])).with("properties", inner);
                match side {
                    Side::Request => some,
                    Side::Answer => some.with("required", Node::from_iter(["value"])),
                }
            }
            Type::Option(option) => or_null(self.of(&option.inner, side)),
            Type::Tuple(items) => {
                let count = u64::try_from(items.len()).unwrap_or(u64::MAX);
                typed("array")
                    .with("prefixItems", items.iter().map(|item| self.of(item, side)).collect::<Node>())
                    .with("items", false)
                    .with("minItems", count)
                    .with("maxItems", count)
            }
            Type::Result { ok, err } => {
                let case = |name: &'static str, other: &'static str, ty: Option<&Type>| {
                    let payload = ty.map_or_else(|| typed("null"), |ty| self.of(ty, side));
                    only(name, payload, [other].into_iter())
                };
                one_of([case("ok", "err", ok.as_deref()), case("err", "ok", err.as_deref())])
            }
            // Named types of which the document does not know: there are none.
            Type::Record(_) | Type::Enum(_) | Type::Variant(_) | Type::Flags(_) => self.definition(ty, side),
        }
    }

    /// The schema itself of a type with a name, with an example.
    pub(super) fn definition(&self, ty: &Type, side: Side) -> Object {
        let examples = |schema: Object| schema.with("examples", Node::List(vec![example::of(ty, "")]));
        match ty {
            Type::Record(Record { name, fields }) => {
                examples(described(self.record(fields.iter(), side), name.docs.as_deref()))
            }
            Type::Enum(labels) => described(label_type(labels), labels_docs(labels).as_deref()),
            Type::Flags(labels) => {
                let items = described(label_type(labels), None);
                let list = typed("array").with("items", items);
                let set = if side == Side::Answer { list.with("uniqueItems", true) } else { list };
                examples(described(set, labels_docs(labels).as_deref()))
            }
            Type::Variant(variant) => examples(described(self.variant(variant, side), variant.name.docs.as_deref())),
            _ => self.of(ty, side),
        }
    }

    /// An object with these members.
    pub(super) fn record<'f>(&self, fields: impl Iterator<Item = &'f Field>, side: Side) -> Object {
        let mut properties = Object::new();
        let mut required = Vec::new();
        for field in fields {
            let (schema, always) = match &field.presence {
                Presence::Required => (self.of(&field.ty, side), true),
                Presence::Optional => (self.of(&field.ty, side), side == Side::Answer),
                Presence::Change(set) => (self.of(set, side), false),
            };
            properties.push(field.json_name.to_string(), described(schema, field.docs.as_deref()));
            if always {
                required.push(Node::from(field.json_name.to_string()));
            }
        }
        let object = typed("object").with("properties", properties);
        if required.is_empty() { object } else { object.with("required", required) }
    }

    fn variant(&self, variant: &Variant, side: Side) -> Object {
        one_of(variant.cases.iter().map(|case| {
            let others = variant.cases.iter().map(|case| &*case.json_name).filter(|name| **name != *case.json_name);
            let schema = match &case.ty {
                None => typed("string").with("const", case.json_name.to_string()),
                Some(ty) => only(&case.json_name, self.of(ty, side), others),
            };
            let title = format!("{} {}", camel(&variant.name.name), case.json_name);
            described(Object::new().with("title", title), case.docs.as_deref()).and(schema)
        }))
    }

    /// The schema of a parameter in a path or a query, where there is no null: what is not there is absent.
    pub(super) fn parameter(&self, ty: &Type) -> Object {
        self.of(ty.without_option(), Side::Request)
    }
}

/// `$ref` to a schema of the document.
pub(super) fn reference(key: &str) -> Object {
    Object::new().with("$ref", format!("#/components/schemas/{key}"))
}

pub(super) fn typed(name: &'static str) -> Object {
    Object::new().with("type", name)
}

/// The same with a doc comment, where there is one.
pub(super) fn described(schema: Object, docs: Option<&str>) -> Object {
    schema.with_some("description", docs.map(str::to_owned))
}

fn integer<T: Into<i64>>(format: &'static str, min: T, max: T) -> Object {
    typed("integer").with("format", format).with("minimum", min.into()).with("maximum", max.into())
}

fn float(number: Object) -> Object {
    one_of([number, typed("string").with("enum", Node::from_iter(["NaN", "Infinity", "-Infinity"]))])
}

fn one_of(schemas: impl IntoIterator<Item = Object>) -> Object {
    Object::new().with("oneOf", schemas.into_iter().collect::<Node>())
}

/// An object with this member and none of the others. Members that are no cases do no harm, here as everywhere.
fn only<'n>(name: &str, payload: Object, others: impl Iterator<Item = &'n str>) -> Object {
    let object = typed("object")
        .with("properties", Object::new().with(name.to_owned(), payload))
        .with("required", Node::from_iter([name.to_owned()]));
    let others: Vec<Node> = others.map(|other| other.to_owned().into()).collect();
    if others.is_empty() {
        return object;
    }
    object.with("propertyNames", Object::new().with("not", Object::new().with("enum", others)))
}

/// The schema, or null; where the schema has one type, that gets a second one.
fn or_null(mut schema: Object) -> Object {
    if let Some(Node::Text(ty)) = schema.get("type").cloned() {
        if let Some(types) = schema.get_mut("type") {
            *types = Node::List(vec![Node::Text(ty), "null".into()]);
        }
        return schema;
    }
    match schema.get_mut("oneOf") {
        Some(Node::List(schemas)) => {
            schemas.push(typed("null").into());
            schema
        }
        _ => one_of([schema, typed("null")]),
    }
}

fn label_type(labels: &Labels) -> Object {
    typed("string").with("enum", labels.list.iter().map(|label| label.json_name.to_string()).collect::<Node>())
}

/// The doc comment of the type, and below it those of the labels: a schema has no other place for them.
fn labels_docs(labels: &Labels) -> Option<String> {
    let line = |label: &Label| label.docs.as_ref().map(|docs| format!("- `{}`: {}", label.json_name, one_line(docs)));
    let lines: Vec<String> = labels.list.iter().filter_map(line).collect();
    let docs = labels.name.docs.clone();
    if lines.is_empty() {
        return docs;
    }
    let docs = docs.map(|docs| docs + "\n\n").unwrap_or_default();
    Some(docs + &lines.join("\n"))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What `list<u8>` is: read in the standard or the URL alphabet, padded or not; written in the standard one, padded.
pub(super) fn bytes() -> Object {
    // The last group of an alphabet may have two or three characters, whose unused bits are zero.
    let alphabet = |extra: &str| {
        let any = format!("[A-Za-z0-9{extra}]");
        format!("(?:{any}{{4}})*(?:{any}[AQgw]={{0,2}}|{any}{{2}}[AEIMQUYcgkosw048]=?)?")
    };
    typed("string")
        .with("contentEncoding", "base64")
        .with("pattern", format!("^(?:{}|{})$", alphabet("+/"), alphabet("_-")))
        .with("maxLength", u64::try_from(MAX_BYTES.div_ceil(3) * 4).unwrap_or(u64::MAX))
        .with(
            "description",
            "Bytes as base64 (RFC 4648), with or without padding, in the standard or the URL-safe alphabet. Answers use \
             the standard alphabet with padding.",
        )
        .with("examples", Node::List(vec![example::BYTES.into()]))
}
