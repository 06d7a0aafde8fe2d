//! The host against a protobuf library that knows the messages only by the descriptors that clients are given.

use std::sync::Arc;

use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage as _, Value};
use prost_types::field_descriptor_proto::{Label, Type as Kind};
use prost_types::{DescriptorProto, FieldOptions};
use wasmtime::component::Val;

use super::props::{damage, damaged, definitions, likely_bytes, plans_of, shape, value};
use crate::contract::FunctionPlan;
use crate::contract::proto::tests::{files, pool};
use crate::contract::proto::{Files, answer, decode, decode_response, encode_request};
use crate::contract::types::{Labels, Presence, Type};
use crate::problem::Kind as ProblemKind;

/// Functions with the descriptors of their messages.
#[derive(Debug, Clone)]
struct Api {
    /// `f` takes the type and something beside it, `g` takes it alone.
    plans: [FunctionPlan; 2],
    requests: [MessageDescriptor; 2],
    /// The same where no list is packed.
    unpacked: [MessageDescriptor; 2],
    response: MessageDescriptor,
}

fn api() -> impl Strategy<Value = Api> {
    shape().prop_map(|shape| {
        let api = definitions(&shape);
        let files = files(&api).expect("describable");
        let methods = |files: &Files| {
            let service = pool(files).get_service_by_name("t.t.v1.Api").expect("the service");
            ["F", "G"].map(|name| service.methods().find(|method| method.name() == name).expect("the method"))
        };
        let packed = methods(&files);
        Api {
            plans: plans_of(&api),
            requests: packed.clone().map(|method| method.input()),
            unpacked: methods(&unpacked(&files)).map(|method| method.input()),
            response: packed[0].output(),
        }
    })
}

fn unpacked(files: &Files) -> Files {
    fn unpack(message: &mut DescriptorProto) {
        for field in message.field.iter_mut().filter(|field| field.label() == Label::Repeated) {
            if !matches!(field.r#type(), Kind::String | Kind::Bytes | Kind::Message) {
                field.options = Some(FieldOptions { packed: Some(false), ..Default::default() });
            }
        }
        message.nested_type.iter_mut().for_each(unpack);
    }
    let file = |(name, file): (&String, &Arc<prost_types::FileDescriptorProto>)| {
        let mut file = prost_types::FileDescriptorProto::clone(file);
        file.message_type.iter_mut().for_each(unpack);
        (name.clone(), Arc::new(file))
    };
    Files(files.0.iter().map(file).collect())
}

/// The rules of presence and of ranges, said a second time: the parameters of a request, none where one is wrong.
fn params(plan: &FunctionPlan, message: &DynamicMessage) -> Option<Vec<Val>> {
    match plan.request_record() {
        Some(_) => Some(vec![one(&plan.params[0].ty, &Value::Message(message.clone()))?]),
        None => fields(&plan.params, message).map(|fields| fields.into_iter().map(|(_, value)| value).collect()),
    }
}

fn response(plan: &FunctionPlan, message: &DynamicMessage) -> Option<Val> {
    match plan.result.ok.as_deref().expect("an answer") {
        ty @ Type::Record(_) => one(ty, &Value::Message(message.clone())),
        ty => field(ty, message, 1),
    }
}

fn fields(fields: &[crate::contract::types::Field], message: &DynamicMessage) -> Option<Vec<(String, Val)>> {
    let one = |(number, plan): (u32, &crate::contract::types::Field)| {
        let absent = !message.has_field_by_number(number);
        let value = match plan.presence {
            Presence::Change(_) if absent => Val::Variant("keep".into(), None),
            _ => field(&plan.ty, message, number)?,
        };
        Some((plan.name.clone(), value))
    };
    (1..).zip(fields).map(one).collect()
}

fn field(ty: &Type, message: &DynamicMessage, number: u32) -> Option<Val> {
    let is_there = message.has_field_by_number(number);
    let value = message.get_field_by_number(number).expect("the descriptor has the field");
    match (ty, &*value) {
        (Type::Option(_), _) if !is_there => Some(Val::Option(None)),
        (Type::Option(option), value) => Some(Val::Option(Some(Box::new(one(&option.inner, value)?)))),
        (Type::List(item), Value::List(items)) => {
            Some(Val::List(items.iter().map(|value| one(item, value)).collect::<Option<_>>()?))
        }
        (Type::Flags(labels), Value::List(items)) => {
            let set: Vec<_> = items.iter().map(|value| label(labels, value)).collect::<Option<_>>()?;
            let names = labels.list.iter().map(|label| label.name.clone());
            Some(Val::Flags(names.filter(|name| set.contains(name)).collect()))
        }
        (Type::Record(_) | Type::Tuple(_) | Type::Variant(_) | Type::Result { .. }, _) if !is_there => None,
        (ty, value) => one(ty, value),
    }
}

fn label(labels: &Labels, value: &Value) -> Option<String> {
    let number = usize::try_from(value.as_enum_number().expect("an enum")).ok()?;
    Some(labels.list.get(number.checked_sub(1)?)?.name.clone())
}

fn one(ty: &Type, value: &Value) -> Option<Val> {
    Some(match (ty, value) {
        (Type::Option(_) | Type::List(_) | Type::Flags(_), Value::Message(wrapper)) => field(ty, wrapper, 1)?,
        (Type::Bool, Value::Bool(v)) => Val::Bool(*v),
        (Type::S8, Value::I32(v)) => Val::S8((*v).try_into().ok()?),
        (Type::S16, Value::I32(v)) => Val::S16((*v).try_into().ok()?),
        (Type::S32, Value::I32(v)) => Val::S32(*v),
        (Type::U8, Value::U32(v)) => Val::U8((*v).try_into().ok()?),
        (Type::U16, Value::U32(v)) => Val::U16((*v).try_into().ok()?),
        (Type::U32, Value::U32(v)) => Val::U32(*v),
        (Type::S64, Value::I64(v)) => Val::S64(*v),
        (Type::U64, Value::U64(v)) => Val::U64(*v),
        (Type::F32, Value::F32(v)) => Val::Float32(*v),
        (Type::F64, Value::F64(v)) => Val::Float64(*v),
        (Type::String, Value::String(v)) => Val::String(v.clone()),
        (Type::Char, Value::String(v)) if v.chars().count() == 1 => Val::Char(v.chars().next()?),
        (Type::Char, Value::String(_)) => return None,
        (Type::Bytes, Value::Bytes(v)) => Val::List(v.iter().copied().map(Val::U8).collect()),
        (Type::Enum(labels), value) => Val::Enum(label(labels, value)?),
        (Type::Record(record), Value::Message(message)) => Val::Record(fields(&record.fields, message)?),
        (Type::Tuple(types), Value::Message(message)) => {
            Val::Tuple((1..).zip(types).map(|(number, ty)| field(ty, message, number)).collect::<Option<_>>()?)
        }
        (Type::Variant(variant), Value::Message(message)) => {
            let (number, case) = (1..).zip(&variant.cases).find(|(number, _)| message.has_field_by_number(*number))?;
            Val::Variant(case.name.clone(), payload(case.ty.as_deref(), message, number)?)
        }
        (Type::Result { ok, err }, Value::Message(message)) => match () {
            () if message.has_field_by_number(1) => Val::Result(Ok(payload(ok.as_deref(), message, 1)?)),
            () if message.has_field_by_number(2) => Val::Result(Err(payload(err.as_deref(), message, 2)?)),
            () => return None,
        },
        _ => panic!("the descriptor says {value:?} where the plan has {ty:?}"),
    })
}

/// Of a oneof; the outer option is none where it is wrong.
fn payload(ty: Option<&Type>, message: &DynamicMessage, number: u32) -> Option<Option<Box<Val>>> {
    let value = message.get_field_by_number(number).expect("the descriptor has the field");
    match ty {
        Some(ty) => Some(Some(Box::new(one(ty, &value)?))),
        None => {
            let empty = value.as_message().expect("a message").descriptor();
            assert_eq!(empty.full_name(), "google.protobuf.Empty");
            Some(None)
        }
    }
}

/// The library leaves the other zero out, which is its mistake: it is no default.
fn other_zero(value: &Val) -> bool {
    let text = format!("{value:?}");
    text.contains("(-0.0)")
}

/// Both read these bytes the same. Where the library refuses them the host may have been content with what counts.
fn same(plan: &FunctionPlan, request: &MessageDescriptor, bytes: &[u8]) -> Result<(), TestCaseError> {
    let ours = decode(plan, bytes);
    if let Ok(message) = DynamicMessage::decode(request.clone(), bytes) {
        match (params(plan, &message), ours) {
            (Some(theirs), Ok(ours)) => prop_assert_eq!(ours, theirs),
            (None, Err(problem)) => prop_assert_eq!(problem.kind, ProblemKind::Validation),
            (theirs, ours) => prop_assert!(false, "ours: {ours:?}\ntheirs: {theirs:?}\n{message:?}"),
        }
    }
    Ok(())
}

fn api_and_values() -> impl Strategy<Value = (Api, Val, Val)> {
    api().prop_flat_map(|api| {
        let value = || value(&api.plans[0].params[0].ty);
        let values = (value(), value());
        (Just(api), values).prop_map(|(api, (first, second))| (api, first, second))
    })
}

fn request(plan: &FunctionPlan, value: &Val) -> Vec<u8> {
    let mut params = vec![value.clone(), Val::U8(3)];
    params.truncate(plan.params.len());
    let mut out = Vec::new();
    encode_request(plan, &params, &mut out).expect("encodes");
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_library_reads_what_the_host_writes((api, value, _) in api_and_values()) {
        for (at, plan) in api.plans.iter().enumerate() {
            let out = request(plan, &value);
            let message = DynamicMessage::decode(api.requests[at].clone(), &out[..]).expect("decodes");
            let params = params(plan, &message);
            prop_assert_eq!(params.as_ref().map(|params| &params[0]), Some(&value));
            if other_zero(&value) {
                continue;
            }
            prop_assert_eq!(message.encode_to_vec(), &out[..], "both write the same bytes");
            // And the host reads what the library writes; lists also where they are not packed.
            let message = DynamicMessage::decode(api.unpacked[at].clone(), &out[..]).expect("decodes");
            prop_assert_eq!(decode(plan, &message.encode_to_vec()).expect("decodes"), params.expect("all are right"));
        }
        let result = if matches!(value, Val::Result(_)) { Val::Option(Some(Box::new(value))) } else { value };
        let mut out = Vec::new();
        answer(&api.plans[0], std::slice::from_ref(&result), &mut out).expect("encodes");
        let message = DynamicMessage::decode(api.response, &out[..]).expect("decodes");
        prop_assert_eq!(response(&api.plans[0], &message), Some(result.clone()));
        prop_assert_eq!(decode_response(&api.plans[0], &out).expect("decodes"), Some(result));
    }

    #[test]
    fn both_merge_the_same((api, first, second) in api_and_values(), cut in any::<prop::sample::Index>()) {
        for (at, plan) in api.plans.iter().enumerate() {
            let (first, second) = (request(plan, &first), request(plan, &second));
            same(plan, &api.requests[at], &[&first[..], &second].concat())?;
            same(plan, &api.requests[at], &[&first[..], &second, &first].concat())?;
            // One that ends too early, in the middle.
            same(plan, &api.requests[at], &[&first[..cut.index(first.len() + 1)], &second].concat())?;
        }
    }

    #[test]
    fn both_read_damaged_messages_the_same((api, value, _) in api_and_values(), damage in damage()) {
        for (at, plan) in api.plans.iter().enumerate() {
            same(plan, &api.requests[at], &damaged(request(plan, &value), &damage))?;
        }
    }

    #[test]
    fn both_read_anything_the_same(api in api(), likely in likely_bytes(), again in likely_bytes()) {
        for (at, plan) in api.plans.iter().enumerate() {
            same(plan, &api.requests[at], &likely)?;
            // Likely bytes inside of the first field, twice.
            let inside = [super::len(1, &likely), super::len(1, &again)].concat();
            same(plan, &api.requests[at], &inside)?;
        }
    }
}
