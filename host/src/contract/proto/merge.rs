//! One file from two that describe parts of the same package, and the order in which a reader meets its types.

use std::collections::{HashMap, HashSet};

use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, ServiceDescriptorProto,
};

use super::text;
use super::walk::{comments, set_comments};

/// A name stands for different things in two sets of files, neither of which is the other with something appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not the same everywhere: it is `{first}` and `{second}`")]
pub struct Disagreement {
    /// The full name of the type, service or method.
    pub name: String,
    /// The first part of it that differs, as one of the two has it.
    pub first: String,
    /// The same part, as the other one has it.
    pub second: String,
}

/// Both files in one. Comments are those of the first where both have one.
pub(super) fn join(
    first: &FileDescriptorProto,
    second: &FileDescriptorProto,
) -> Result<FileDescriptorProto, Disagreement> {
    let mut texts = comments(second);
    texts.extend(comments(first));
    let mut file = first.clone();
    let package = first.package();
    let scope = |name: &str| format!("{package}.{name}");
    union(&mut file.message_type, &second.message_type, DescriptorProto::name, |a, b| message(&scope(a.name()), a, b))?;
    union(&mut file.enum_type, &second.enum_type, EnumDescriptorProto::name, |a, b| labels(&scope(a.name()), a, b))?;
    union(&mut file.service, &second.service, ServiceDescriptorProto::name, |a, b| service(&scope(a.name()), a, b))?;
    file.dependency.extend(second.dependency.iter().filter(|name| !first.dependency.contains(name)).cloned());
    file.dependency.sort_unstable();
    distinct(&file)?;
    arrange(&mut file);
    set_comments(&mut file, &texts);
    Ok(file)
}

/// Joins what both have and appends what only the second has.
fn union<T: Clone>(
    first: &mut Vec<T>,
    second: &[T],
    name: impl Fn(&T) -> &str,
    join: impl Fn(&T, &T) -> Result<T, Disagreement>,
) -> Result<(), Disagreement> {
    for theirs in second {
        match first.iter_mut().find(|ours| name(ours) == name(theirs)) {
            Some(ours) => *ours = join(ours, theirs)?,
            None => first.push(theirs.clone()),
        }
    }
    Ok(())
}

fn message(full_name: &str, a: &DescriptorProto, b: &DescriptorProto) -> Result<DescriptorProto, Disagreement> {
    let (small, large) = if a.field.len() <= b.field.len() { (a, b) } else { (b, a) };
    if let Some((a, b)) = a.field.iter().zip(&b.field).find(|(a, b)| a != b) {
        return Err(Disagreement { name: full_name.to_owned(), first: shape(a), second: shape(b) });
    }
    // The fields of the larger one begin with those of the smaller one, so it has every message that these need.
    let mut joined = large.clone();
    union(&mut joined.nested_type, &small.nested_type, DescriptorProto::name, |a, b| {
        message(&format!("{full_name}.{}", a.name()), a, b)
    })?;
    Ok(joined)
}

fn labels(
    full_name: &str,
    a: &EnumDescriptorProto,
    b: &EnumDescriptorProto,
) -> Result<EnumDescriptorProto, Disagreement> {
    if let Some((a, b)) = a.value.iter().zip(&b.value).find(|(a, b)| a != b) {
        let shape = |value: &prost_types::EnumValueDescriptorProto| format!("{} = {}", value.name(), value.number());
        return Err(Disagreement { name: full_name.to_owned(), first: shape(a), second: shape(b) });
    }
    Ok(if a.value.len() < b.value.len() { b } else { a }.clone())
}

fn service(
    full_name: &str,
    a: &ServiceDescriptorProto,
    b: &ServiceDescriptorProto,
) -> Result<ServiceDescriptorProto, Disagreement> {
    let mut joined = a.clone();
    union(&mut joined.method, &b.method, prost_types::MethodDescriptorProto::name, |a, b| {
        let shape = |method: &prost_types::MethodDescriptorProto| {
            let side = |streamed: bool, ty| format!("({}{})", if streamed { "stream " } else { "" }, bare(ty));
            let takes = side(method.client_streaming(), method.input_type());
            format!("{takes} returns {}", side(method.server_streaming(), method.output_type()))
        };
        match a == b {
            true => Ok(a.clone()),
            false => Err(Disagreement { name: format!("{full_name}.{}", a.name()), first: shape(a), second: shape(b) }),
        }
    })?;
    Ok(joined)
}

/// A file of which each half is fine may still use a name twice: for a message and an enum, or for values of two enums.
fn distinct(file: &FileDescriptorProto) -> Result<(), Disagreement> {
    let mut taken: HashMap<&str, String> = HashMap::new();
    let mut take = |name, what: String| match taken.insert(name, what.clone()) {
        Some(first) => Err(Disagreement { name: format!("{}.{name}", file.package()), first, second: what }),
        None => Ok(()),
    };
    file.service.iter().try_for_each(|service| take(service.name(), format!("service {}", service.name())))?;
    file.message_type.iter().try_for_each(|message| take(message.name(), format!("message {}", message.name())))?;
    for of in &file.enum_type {
        take(of.name(), format!("enum {}", of.name()))?;
        of.value.iter().try_for_each(|value| take(value.name(), format!("a value of enum {}", of.name())))?;
    }
    Ok(())
}

/// A field as it is declared, but with the full name of its type.
fn shape(field: &FieldDescriptorProto) -> String {
    let ty = field.type_name.as_deref().map_or_else(|| text::scalar(field), |name| bare(name).to_owned());
    let oneof = if text::oneof(field).is_some() { " of a oneof" } else { "" };
    text::declaration(field, &ty) + oneof
}

fn bare(type_name: &str) -> &str {
    type_name.strip_prefix('.').unwrap_or(type_name)
}

/// Brings services into the order of their names and types into the order of their first use: by the methods, each type
/// before those of its fields; then those that no method of this file uses. Comments have to be set anew after this.
pub(super) fn arrange(file: &mut FileDescriptorProto) {
    file.service.sort_by(|a, b| a.name.cmp(&b.name));
    let prefix = format!(".{}.", file.package());
    let mut uses: HashMap<String, Vec<String>> = HashMap::new();
    for message in &file.message_type {
        let mut used = Vec::new();
        add_uses(message, &prefix, &mut used);
        uses.insert(message.name().to_owned(), used);
    }
    uses.extend(file.enum_type.iter().map(|of| (of.name().to_owned(), Vec::new())));
    let mut order: HashMap<String, usize> = HashMap::new();
    for method in file.service.iter().flat_map(|service| &service.method) {
        for name in [method.input_type(), method.output_type()] {
            if let Some(name) = name.strip_prefix(&*prefix) {
                visit(name, &uses, &mut order);
            }
        }
    }
    // Of the others, first those that no other one uses: they bring the rest.
    let others: Vec<&String> = uses.keys().filter(|name| !order.contains_key(*name)).collect();
    let used: HashSet<&String> = others.iter().flat_map(|name| &uses[*name]).collect();
    let mut others: Vec<(bool, &String)> = others.iter().map(|name| (used.contains(name), *name)).collect();
    others.sort_unstable();
    for (_, name) in others {
        visit(name, &uses, &mut order);
    }
    let place = |name: &str| order.get(name).copied().unwrap_or(usize::MAX);
    file.message_type.sort_by_key(|message| place(message.name()));
    file.enum_type.sort_by_key(|of| place(of.name()));
}

fn visit(name: &str, uses: &HashMap<String, Vec<String>>, order: &mut HashMap<String, usize>) {
    let Some(used) = uses.get(name).filter(|_| !order.contains_key(name)) else { return };
    order.insert(name.to_owned(), order.len());
    for name in used {
        visit(name, uses, order);
    }
}

/// The types of this file that a message needs, in the order of its fields.
fn add_uses(message: &DescriptorProto, prefix: &str, used: &mut Vec<String>) {
    for field in &message.field {
        let Some(name) = field.type_name.as_deref().and_then(|name| name.strip_prefix(prefix)) else { continue };
        let (top, rest) = name.split_once('.').map_or((name, None), |(top, rest)| (top, Some(rest)));
        if rest.is_none() {
            used.push(top.to_owned());
            continue;
        }
        // A message that is nested in this one stands for what it needs itself.
        let own = name.rsplit('.').next().unwrap_or_default();
        if let Some(nested) = message.nested_type.iter().find(|nested| nested.name() == own) {
            add_uses(nested, prefix, used);
        }
    }
}
