//! The JSON of the REST side as protobuf messages and back, by the descriptors that the host reflects. The messages are
//! prost-reflect's: nothing of the host's own codec is in here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, OneofDescriptor, ReflectMessage as _,
    Value as Proto,
};
use serde_json::{Map, Value, json};

/// What a message stands for.
enum Form {
    Record,
    Tuple,
    Change(OneofDescriptor),
    Variant(OneofDescriptor),
    Outcome(OneofDescriptor),
    Wrapper(FieldDescriptor),
}

fn form(message: &MessageDescriptor) -> Form {
    let choice = message.oneofs().find(|oneof| !oneof.is_synthetic());
    let names: Vec<String> = message.fields().map(|field| field.name().to_owned()).collect();
    if let Some(oneof) = choice {
        return match (oneof.name(), names.as_slice()) {
            ("result", _) => Form::Outcome(oneof),
            (_, [keep, clear, set]) if keep == "keep" && clear == "clear" && set == "set" => Form::Change(oneof),
            _ => Form::Variant(oneof),
        };
    }
    let nested = message.parent_message().is_some();
    if nested && message.name().ends_with("Value") && names == ["value"] {
        return Form::Wrapper(message.fields().next().unwrap());
    }
    if nested && message.name().ends_with("Tuple") {
        return Form::Tuple;
    }
    Form::Record
}

/// The message of a JSON value. Members that are no fields are left out; what JSON leaves out stays absent.
pub fn to_message(descriptor: &MessageDescriptor, json: &Value) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    match form(descriptor) {
        Form::Record => {
            for field in descriptor.fields() {
                if let Some(value) = json.get(field.name()) {
                    put(&mut message, &field, value);
                }
            }
        }
        Form::Tuple => {
            for (at, field) in descriptor.fields().enumerate() {
                put(&mut message, &field, &json[at]);
            }
        }
        Form::Wrapper(field) => put(&mut message, &field, json),
        Form::Outcome(oneof) | Form::Variant(oneof) | Form::Change(oneof) => {
            let (name, payload) = match json {
                Value::String(name) => (name.clone(), &Value::Null),
                Value::Object(members) => members.iter().next().map(|(name, value)| (name.clone(), value)).unwrap(),
                other => panic!("{other} is no case of {}", descriptor.full_name()),
            };
            let field = oneof.fields().find(|field| field.name() == name).unwrap_or_else(|| panic!("no case {name}"));
            let value = single(&field, payload);
            message.set_field(&field, value);
        }
    }
    message
}

fn put(message: &mut DynamicMessage, field: &FieldDescriptor, json: &Value) {
    if field.is_list() {
        if let Value::Array(items) = json {
            let items = items.iter().map(|item| single(field, item)).collect();
            message.set_field(field, Proto::List(items));
        }
        return;
    }
    if let Kind::Message(inner) = field.kind() {
        match (form(&inner), json) {
            (Form::Change(oneof), value) => {
                let mut change = DynamicMessage::new(inner.clone());
                let case = if value.is_null() { "clear" } else { "set" };
                let case = oneof.fields().find(|field| field.name() == case).unwrap();
                let payload = single(&case, value);
                change.set_field(&case, payload);
                message.set_field(field, Proto::Message(change));
                return;
            }
            // An option of an option: JSON has `{"value": …}` where the message has its wrapper.
            (Form::Wrapper(value), Value::Object(members)) if optional(field) && optional(&value) => {
                let mut wrapper = DynamicMessage::new(inner.clone());
                if let Some(inside) = members.get("value") {
                    put(&mut wrapper, &value, inside);
                }
                message.set_field(field, Proto::Message(wrapper));
                return;
            }
            _ => {}
        }
    }
    if !json.is_null() {
        message.set_field(field, single(field, json));
    }
}

/// Whether the field is an option.
fn optional(field: &FieldDescriptor) -> bool {
    field.containing_oneof().is_some_and(|oneof| oneof.is_synthetic())
}

fn single(field: &FieldDescriptor, json: &Value) -> Proto {
    let float = || match json {
        Value::String(word) => match &**word {
            "NaN" => f64::NAN,
            "Infinity" => f64::INFINITY,
            _ => f64::NEG_INFINITY,
        },
        number => number.as_f64().unwrap(),
    };
    match field.kind() {
        Kind::Bool => Proto::Bool(json.as_bool().unwrap()),
        Kind::Sint32 => Proto::I32(json.as_i64().unwrap().try_into().unwrap()),
        Kind::Uint32 => Proto::U32(json.as_u64().unwrap().try_into().unwrap()),
        Kind::Int64 => Proto::I64(json.as_i64().unwrap()),
        Kind::Uint64 => Proto::U64(json.as_u64().unwrap()),
        Kind::Float => Proto::F32(float() as f32),
        Kind::Double => Proto::F64(float()),
        Kind::String => Proto::String(json.as_str().unwrap().to_owned()),
        Kind::Bytes => Proto::Bytes(STANDARD.decode(json.as_str().unwrap()).unwrap().into()),
        Kind::Enum(labels) => Proto::EnumNumber(number(&labels, json.as_str().unwrap())),
        Kind::Message(inner) if inner.full_name() == "google.protobuf.Empty" => {
            Proto::Message(DynamicMessage::new(inner))
        }
        Kind::Message(inner) => Proto::Message(to_message(&inner, json)),
        other => panic!("{other:?} is no kind that the host writes"),
    }
}

/// `dark_blue` of `Color` is `COLOR_DARK_BLUE`.
fn prefix(labels: &EnumDescriptor) -> String {
    let zero = labels.values().find(|value| value.number() == 0).unwrap();
    zero.name().strip_suffix("UNSPECIFIED").unwrap().to_owned()
}

fn number(labels: &EnumDescriptor, label: &str) -> i32 {
    let name = format!("{}{}", prefix(labels), label.to_uppercase());
    labels.get_value_by_name(&name).unwrap_or_else(|| panic!("no value {name}")).number()
}

/// The JSON of a message, as the REST side writes the same value.
pub fn to_json(message: &DynamicMessage) -> Value {
    let descriptor = message.descriptor();
    match form(&descriptor) {
        Form::Record => {
            let mut members = Map::new();
            for field in descriptor.fields() {
                if let Some(value) = take(message, &field) {
                    members.insert(field.name().to_owned(), value);
                }
            }
            Value::Object(members)
        }
        Form::Tuple => descriptor.fields().map(|field| take(message, &field).unwrap()).collect(),
        Form::Wrapper(field) => take(message, &field).unwrap(),
        Form::Outcome(oneof) => {
            let (name, payload) = case(message, &oneof);
            json!({ name: payload })
        }
        Form::Variant(oneof) | Form::Change(oneof) => {
            let (name, payload) = case(message, &oneof);
            let field = descriptor.get_field_by_name(&name).unwrap();
            match field.kind() {
                Kind::Message(empty) if empty.full_name() == "google.protobuf.Empty" => json!(name),
                _ => json!({ name: payload }),
            }
        }
    }
}

fn case(message: &DynamicMessage, oneof: &OneofDescriptor) -> (String, Value) {
    let field = oneof.fields().find(|field| message.has_field(field)).expect("no case is set");
    (field.name().to_owned(), plain(&field, &message.get_field(&field)))
}

/// None for a change that keeps, which JSON leaves out.
fn take(message: &DynamicMessage, field: &FieldDescriptor) -> Option<Value> {
    let value = message.get_field(field);
    if let Proto::List(items) = &*value {
        return Some(items.iter().map(|item| plain(field, item)).collect());
    }
    let present = !field.supports_presence() || message.has_field(field);
    if let Kind::Message(inner) = field.kind() {
        match form(&inner) {
            Form::Change(oneof) => {
                let (name, payload) = present.then(|| case(value.as_message().unwrap(), &oneof))?;
                return match &*name {
                    "keep" => None,
                    "clear" => Some(Value::Null),
                    _ => Some(payload),
                };
            }
            Form::Wrapper(inside) if present && optional(field) && optional(&inside) => {
                return Some(json!({ "value": take(value.as_message().unwrap(), &inside) }));
            }
            _ => {}
        }
    }
    Some(if present { plain(field, &value) } else { Value::Null })
}

fn plain(field: &FieldDescriptor, value: &Proto) -> Value {
    let word = |number: f64| match number {
        n if n.is_nan() => json!("NaN"),
        n if n > 0.0 => json!("Infinity"),
        _ => json!("-Infinity"),
    };
    match (value, field.kind()) {
        (Proto::Bool(value), _) => json!(value),
        (Proto::I32(value), _) => json!(value),
        (Proto::U32(value), _) => json!(value),
        (Proto::I64(value), _) => json!(value),
        (Proto::U64(value), _) => json!(value),
        (Proto::F32(value), _) if value.is_finite() => value.to_string().parse().map(Value::Number).unwrap(),
        (Proto::F32(value), _) => word(f64::from(*value)),
        (Proto::F64(value), _) if value.is_finite() => json!(value),
        (Proto::F64(value), _) => word(*value),
        (Proto::String(text), _) => json!(text),
        (Proto::Bytes(bytes), _) => json!(STANDARD.encode(bytes)),
        (Proto::EnumNumber(number), Kind::Enum(labels)) => {
            let value = labels.get_value(*number).expect("the host answers known values");
            json!(value.name().strip_prefix(&prefix(&labels)).unwrap().to_lowercase())
        }
        (Proto::Message(inner), _) if inner.descriptor().full_name() == "google.protobuf.Empty" => Value::Null,
        (Proto::Message(inner), _) => to_json(inner),
        (other, kind) => panic!("{other:?} is no {kind:?}"),
    }
}
