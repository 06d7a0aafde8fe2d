//! The named types of a document and the names of their schemas.
//!
//! What a request may look like and what an answer does look like differ wherever there is an option: requests may
//! leave it out, answers never do. A type that is met on both sides and differs gets two schemas, `Name` for answers
//! and `NameInput` for requests; any other gets one.

use std::collections::{HashMap, HashSet};

use super::super::names::camel;
use super::super::plan::PackageName;
use super::super::types::{Presence, Type, TypeName};

/// On which side of a call a type is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Side {
    /// What a client sends.
    Request,
    /// What the host answers.
    Answer,
}

/// A named type with its place in the document.
struct Definition<'a> {
    ty: &'a Type,
    name: &'a TypeName,
    request: bool,
    answer: bool,
    differs: bool,
    /// The names of the schemas, once they are given.
    keys: [String; 2],
}

/// The named types that a document uses.
///
/// Two types are the same where interface, name and shape are: plugins bring copies of the types that they share, and a
/// plugin that was built with a newer version of a package may bring another shape under the same name.
#[derive(Default)]
pub(super) struct Components<'a> {
    /// Shapes by their text, so that equal shapes are one number however often they are met.
    shapes: HashMap<String, usize>,
    /// By address: the types stay where they are while they are borrowed.
    known: HashMap<*const Type, usize>,
    differing: HashMap<*const Type, bool>,
    definitions: Vec<Definition<'a>>,
    by_shape: HashMap<usize, usize>,
    /// Whether there is a `list<u8>` anywhere.
    has_bytes: bool,
}

impl<'a> Components<'a> {
    /// Takes a type that is used on this side, with all that it is made of.
    pub(super) fn add(&mut self, ty: &'a Type, side: Side) {
        if let Some(name) = name_of(ty) {
            let shape = self.shape(ty);
            let next = self.definitions.len();
            let at = *self.by_shape.entry(shape).or_insert(next);
            if at == next {
                let keys = [String::new(), String::new()];
                let differs = self.differs(ty);
                self.definitions.push(Definition { ty, name, request: false, answer: false, differs, keys });
            }
            let Some(definition) = self.definitions.get_mut(at) else { return };
            let seen = match side {
                Side::Request => &mut definition.request,
                Side::Answer => &mut definition.answer,
            };
            if std::mem::replace(seen, true) {
                return;
            }
        }
        match ty {
            Type::Bytes => self.has_bytes = true,
            Type::List(item) => self.add(item, side),
            Type::Option(option) => self.add(&option.inner, side),
            Type::Tuple(items) => items.iter().for_each(|item| self.add(item, side)),
            Type::Result { ok, err } => ok.iter().chain(err).for_each(|part| self.add(part, side)),
            Type::Record(record) => record.fields.iter().for_each(|field| match &field.presence {
                Presence::Change(set) => self.add(set, side),
                Presence::Required | Presence::Optional => self.add(&field.ty, side),
            }),
            Type::Variant(variant) => {
                variant.cases.iter().filter_map(|case| case.ty.as_deref()).for_each(|ty| self.add(ty, side));
            }
            _ => {}
        }
    }

    /// Gives every schema its name: that of the type, with its package before it where two would be the same.
    pub(super) fn name(&mut self, reserved: impl IntoIterator<Item = &'a str>) {
        let mut taken: HashSet<String> = reserved.into_iter().map(str::to_owned).collect();
        let mut wanted: HashMap<String, usize> = HashMap::new();
        for key in self.definitions.iter().flat_map(|definition| definition.wanted("")) {
            *wanted.entry(key).or_default() += 1;
        }
        for definition in &mut self.definitions {
            let alone = |key: &String| wanted.get(key) == Some(&1) && !taken.contains(key);
            let prefix = if definition.wanted("").iter().all(alone) {
                String::new()
            } else {
                format!("{}.", definition.name.package.as_ref().map(PackageName::proto).unwrap_or_default())
            };
            let mut number = 1;
            let mut keys = definition.wanted(&prefix);
            while keys.iter().any(|key| taken.contains(key)) {
                number += 1;
                keys = definition.wanted(&prefix).into_iter().map(|key| format!("{key}_{number}")).collect();
            }
            taken.extend(keys.iter().cloned());
            let request = keys.pop().unwrap_or_default();
            definition.keys = [request.clone(), keys.pop().unwrap_or(request)];
        }
    }

    /// The name of the schema of a named type on this side.
    pub(super) fn key(&self, ty: &Type, side: Side) -> Option<&str> {
        let shape = self.known.get(&std::ptr::from_ref(ty))?;
        let definition = self.definitions.get(*self.by_shape.get(shape)?)?;
        let [request, answer] = &definition.keys;
        Some(if side == Side::Request { request } else { answer })
    }

    /// Whether there is a `list<u8>` anywhere.
    pub(super) const fn has_bytes(&self) -> bool {
        self.has_bytes
    }

    /// Every schema with its name: the type, and the side whose form it has.
    pub(super) fn schemas(&self) -> impl Iterator<Item = (&str, &'a Type, Side)> {
        self.definitions.iter().flat_map(|definition| {
            let [request, answer] = &definition.keys;
            let answers = definition.answer.then_some((answer.as_str(), definition.ty, Side::Answer));
            let requests = (definition.request && (!definition.answer || definition.differs)).then_some((
                request.as_str(),
                definition.ty,
                Side::Request,
            ));
            answers.into_iter().chain(requests)
        })
    }

    /// Whether requests may hold what answers never do: a missing option, or the same flag twice.
    fn differs(&mut self, ty: &Type) -> bool {
        if let Some(known) = self.differing.get(&std::ptr::from_ref(ty)) {
            return *known;
        }
        let differs = match ty {
            Type::Flags(_) => true,
            Type::List(item) => self.differs(item),
            Type::Option(option) => option.wrapped || self.differs(&option.inner),
            Type::Tuple(items) => items.iter().any(|item| self.differs(item)),
            Type::Result { ok, err } => ok.iter().chain(err).any(|part| self.differs(part)),
            Type::Record(record) => record.fields.iter().any(|field| match &field.presence {
                Presence::Required => self.differs(&field.ty),
                Presence::Optional => true,
                Presence::Change(set) => self.differs(set),
            }),
            Type::Variant(variant) => {
                variant.cases.iter().filter_map(|case| case.ty.as_deref()).any(|ty| self.differs(ty))
            }
            _ => false,
        };
        self.differing.insert(std::ptr::from_ref(ty), differs);
        differs
    }

    /// The number of a type's shape.
    fn shape(&mut self, ty: &Type) -> usize {
        if let Some(known) = self.known.get(&std::ptr::from_ref(ty)) {
            return *known;
        }
        let text = match ty {
            Type::List(item) => format!("list {}", self.shape(item)),
            Type::Option(option) => format!("option {}", self.shape(&option.inner)),
            Type::Tuple(items) => format!("tuple {:?}", items.iter().map(|item| self.shape(item)).collect::<Vec<_>>()),
            Type::Result { ok, err } => {
                let mut side = |part: &Option<_>| part.as_deref().map(|ty| self.shape(ty));
                format!("result {:?} {:?}", side(ok), side(err))
            }
            Type::Record(record) => {
                let fields: Vec<_> = record
                    .fields
                    .iter()
                    .map(|field| (&field.name, self.shape_of_field(&field.presence, &field.ty)))
                    .collect();
                format!("record {} {} {fields:?}", record.name.interface, record.name.name)
            }
            Type::Variant(variant) => {
                let cases: Vec<_> = variant
                    .cases
                    .iter()
                    .map(|case| (&case.name, case.ty.as_deref().map(|ty| self.shape(ty))))
                    .collect();
                format!("variant {} {} {cases:?}", variant.name.interface, variant.name.name)
            }
            Type::Enum(labels) | Type::Flags(labels) => {
                let kind = if matches!(ty, Type::Enum(_)) { "enum" } else { "flags" };
                let names: Vec<_> = labels.list.iter().map(|label| &label.name).collect();
                format!("{kind} {} {} {names:?}", labels.name.interface, labels.name.name)
            }
            scalar => format!("{scalar:?}"),
        };
        let next = self.shapes.len();
        let shape = *self.shapes.entry(text).or_insert(next);
        self.known.insert(std::ptr::from_ref(ty), shape);
        shape
    }

    /// A change is met as the option that is read in its stead; that one needs its number too.
    fn shape_of_field(&mut self, presence: &Presence, ty: &Type) -> usize {
        if let Presence::Change(set) = presence {
            self.shape(set);
        }
        self.shape(ty)
    }
}

impl Definition<'_> {
    /// The names that it would have with this before them: of the answer first, of the request last.
    fn wanted(&self, prefix: &str) -> Vec<String> {
        let name = format!("{prefix}{}", camel(&self.name.name));
        if self.request && self.answer && self.differs {
            let request = format!("{name}Input");
            vec![name, request]
        } else {
            vec![name]
        }
    }
}

/// The name of a type that has one.
pub(super) const fn name_of(ty: &Type) -> Option<&TypeName> {
    match ty {
        Type::Record(record) => Some(&record.name),
        Type::Variant(variant) => Some(&variant.name),
        Type::Enum(labels) | Type::Flags(labels) => Some(&labels.name),
        _ => None,
    }
}
