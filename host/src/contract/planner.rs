//! WIT types to plans, or the reason why there is none.

use std::collections::HashMap;
use std::sync::Arc;

use wit_parser::{Function, FunctionKind, Handle, Resolve, Type as WitType, TypeDef, TypeDefKind, TypeId, TypeOwner};

use super::docs::Docs;
use super::error::ContractError;
use super::plan::{FunctionPlan, PackageName, ResultPlan, Streams};
use super::types::{Field, Fields, Labels, Record, Type, TypeName, Variant};

/// As deep as a component's types can be nested; JSON nests at most once a level and serde_json stops at 128.
pub(super) const MAX_DEPTH: usize = 100;

/// Where the one error type is defined.
const PROBLEM: (&str, &str, &str, &str) = ("arcana", "types", "types", "problem");

/// Plans the functions of one component; named types are planned once and shared.
pub(super) struct Planner<'a> {
    pub(super) resolve: &'a Resolve,
    pub(super) docs: &'a Docs,
    /// Each with the levels that are below it: what is found here may stand deeper than where it was planned.
    planned: HashMap<TypeId, (Arc<Type>, usize)>,
    /// The deepest level below the type that is being planned, counted from the root.
    deepest: usize,
    /// Whether a whole request and a whole answer may be a stream.
    streams: bool,
}

impl<'a> Planner<'a> {
    pub(super) fn new(resolve: &'a Resolve, docs: &'a Docs) -> Self {
        Self { resolve, docs, planned: HashMap::new(), deepest: 0, streams: false }
    }

    /// The same for functions that the host serves by itself: no component carries their values.
    pub(super) const fn with_streams(mut self) -> Self {
        self.streams = true;
        self
    }

    /// What a stream is made of, where this is one and may be.
    fn streamed(&self, ty: &WitType) -> Option<WitType> {
        match definition(self.resolve, ty) {
            Some((_, TypeDef { kind: TypeDefKind::Stream(Some(item)), .. })) if self.streams => Some(*item),
            _ => None,
        }
    }

    pub(super) fn function(&mut self, interface: &str, function: &Function) -> Result<FunctionPlan, ContractError> {
        if !matches!(function.kind, FunctionKind::Freestanding | FunctionKind::AsyncFreestanding) {
            return Err(ContractError::Function {
                interface: interface.to_owned(),
                function: function.name.clone(),
                reason: "it belongs to a resource or is an accessor; only plain functions can".into(),
            });
        }
        let mut streams = Streams::default();
        let mut params = Vec::with_capacity(function.params.len());
        for param in &function.params {
            let streamed = self.streamed(&param.ty).filter(|_| function.params.len() == 1);
            streams.request |= streamed.is_some();
            let ty = self.ty(&streamed.unwrap_or(param.ty), 0).map_err(|reason| ContractError::Parameter {
                interface: interface.to_owned(),
                function: function.name.clone(),
                parameter: param.name.clone(),
                ty: spell(self.resolve, &param.ty),
                reason,
            })?;
            params.push(Field::new(&param.name, ty, None));
        }
        let result = self.result(function.result.as_ref(), &mut streams).map_err(|reason| ContractError::Result {
            interface: interface.to_owned(),
            function: function.name.clone(),
            ty: function.result.as_ref().map(|ty| spell(self.resolve, ty)).unwrap_or_default(),
            reason,
        })?;
        Ok(FunctionPlan {
            name: function.name.clone(),
            docs: self.docs.item(interface, &function.name),
            params: Arc::new(params.into_iter().collect::<Fields>()),
            result,
            streams,
        })
    }

    fn result(&mut self, result: Option<&WitType>, streams: &mut Streams) -> Result<ResultPlan, String> {
        let Some(ty) = result else { return Ok(ResultPlan { ok: None, fallible: false }) };
        if let Some((_, TypeDef { kind: TypeDefKind::Result(result), .. })) = definition(self.resolve, ty) {
            let err = result.err.as_ref();
            if !err.is_some_and(|err| self.is_problem(err)) {
                let err = err.map_or_else(|| "none".into(), |err| format!("`{}`", spell(self.resolve, err)));
                return Err(format!("its error type must be `problem` of `arcana:types`, not {err}"));
            }
            let ok = result.ok.as_ref().map(|ok| self.success(ok, streams)).transpose()?;
            return Ok(ResultPlan { ok, fallible: true });
        }
        Ok(ResultPlan { ok: Some(self.success(ty, streams)?), fallible: false })
    }

    fn success(&mut self, ty: &WitType, streams: &mut Streams) -> Result<Arc<Type>, String> {
        let streamed = self.streamed(ty);
        streams.answer = streamed.is_some();
        self.ty(&streamed.unwrap_or(*ty), 0)
    }

    /// The name and the shape: a component may say what it likes about a package that is not its own.
    fn is_problem(&self, ty: &WitType) -> bool {
        let Some((_, def)) = definition(self.resolve, ty) else { return false };
        let TypeOwner::Interface(interface) = def.owner else { return false };
        let interface = &self.resolve.interfaces[interface];
        let Some(package) = interface.package.map(|id| &self.resolve.packages[id].name) else { return false };
        let name = (
            package.namespace.as_str(),
            package.name.as_str(),
            interface.name.as_deref().unwrap_or_default(),
            def.name.as_deref().unwrap_or_default(),
        );
        let TypeDefKind::Record(record) = &def.kind else { return false };
        let fields = record.fields.iter().map(|field| (field.name.as_str(), spell(self.resolve, &field.ty)));
        name == PROBLEM
            && fields.eq([
                ("kind", "problem-kind".to_owned()),
                ("code", "option<string>".to_owned()),
                ("message", "string".to_owned()),
                ("details", "list<field-error>".to_owned()),
                ("retry-after-ms", "option<u64>".to_owned()),
            ])
    }

    fn ty(&mut self, ty: &WitType, depth: usize) -> Result<Arc<Type>, String> {
        self.reach(depth)?;
        let id = match ty {
            WitType::Id(id) => *id,
            primitive => return Ok(Arc::new(scalar(primitive)?)),
        };
        if let Some((planned, height)) = self.planned.get(&id).cloned() {
            self.reach(depth + height)?;
            return Ok(planned);
        }
        let beside = std::mem::replace(&mut self.deepest, depth);
        let planned = self.definition(id, depth + 1)?;
        self.planned.insert(id, (planned.clone(), self.deepest - depth));
        self.deepest = self.deepest.max(beside);
        Ok(planned)
    }

    fn reach(&mut self, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("it is nested more than {MAX_DEPTH} levels deep"));
        }
        self.deepest = self.deepest.max(depth);
        Ok(())
    }

    fn definition(&mut self, id: TypeId, depth: usize) -> Result<Arc<Type>, String> {
        let resolve = self.resolve;
        let def = &resolve.types[id];
        let name = |docs: &Docs| type_name(resolve, def, docs);
        Ok(Arc::new(match &def.kind {
            TypeDefKind::Type(ty) => return self.ty(ty, depth),
            TypeDefKind::Option(inner) => Type::option(self.ty(inner, depth)?),
            TypeDefKind::List(item) => {
                let item = self.ty(item, depth)?;
                if matches!(*item, Type::U8) { Type::Bytes } else { Type::List(item) }
            }
            TypeDefKind::Tuple(tuple) => {
                Type::Tuple(tuple.types.iter().map(|ty| self.ty(ty, depth)).collect::<Result<_, _>>()?)
            }
            TypeDefKind::Result(result) => Type::Result {
                ok: result.ok.as_ref().map(|ty| self.ty(ty, depth)).transpose()?,
                err: result.err.as_ref().map(|ty| self.ty(ty, depth)).transpose()?,
            },
            TypeDefKind::Record(record) => {
                let name = name(self.docs);
                let fields = record.fields.iter().map(|field| {
                    let docs = self.docs.member(&name.interface, &name.name, &field.name);
                    Ok(Field::new(&field.name, self.ty(&field.ty, depth)?, docs))
                });
                let fields = fields.collect::<Result<Fields, String>>()?;
                Type::Record(Record { name, fields })
            }
            TypeDefKind::Variant(variant) => {
                let name = name(self.docs);
                let cases = variant.cases.iter().map(|case| {
                    let docs = self.docs.member(&name.interface, &name.name, &case.name);
                    let ty = case.ty.as_ref().map(|ty| self.ty(ty, depth)).transpose()?;
                    Ok((case.name.clone(), docs, ty))
                });
                let cases = cases.collect::<Result<Vec<_>, String>>()?;
                Type::Variant(Variant::new(name, cases))
            }
            TypeDefKind::Enum(cases) => {
                let name = name(self.docs);
                Type::Enum(self.labels(name, cases.cases.iter().map(|case| &case.name)))
            }
            TypeDefKind::Flags(flags) => {
                let name = name(self.docs);
                Type::Flags(self.labels(name, flags.flags.iter().map(|flag| &flag.name)))
            }
            TypeDefKind::Resource
            | TypeDefKind::Handle(_)
            | TypeDefKind::Map(..)
            | TypeDefKind::FixedLengthList(..)
            | TypeDefKind::Future(_)
            | TypeDefKind::Stream(_)
            | TypeDefKind::Unknown => {
                return Err(format!("`{}` cannot be sent over a network", spell(resolve, &WitType::Id(id))));
            }
        }))
    }

    fn labels<'n>(&self, name: TypeName, labels: impl Iterator<Item = &'n String>) -> Labels {
        let labels: Vec<_> =
            labels.map(|label| (label.clone(), self.docs.member(&name.interface, &name.name, label))).collect();
        Labels::new(name, labels)
    }
}

fn scalar(ty: &WitType) -> Result<Type, String> {
    Ok(match ty {
        WitType::Bool => Type::Bool,
        WitType::S8 => Type::S8,
        WitType::U8 => Type::U8,
        WitType::S16 => Type::S16,
        WitType::U16 => Type::U16,
        WitType::S32 => Type::S32,
        WitType::U32 => Type::U32,
        WitType::S64 => Type::S64,
        WitType::U64 => Type::U64,
        WitType::F32 => Type::F32,
        WitType::F64 => Type::F64,
        WitType::Char => Type::Char,
        WitType::String => Type::String,
        WitType::ErrorContext | WitType::Id(_) => return Err("`error-context` cannot be sent over a network".into()),
    })
}

fn type_name(resolve: &Resolve, def: &TypeDef, docs: &Docs) -> TypeName {
    let name = def.name.clone().unwrap_or_default();
    let (interface, package) = match def.owner {
        TypeOwner::Interface(id) => {
            let package = resolve.interfaces[id].package.map(|id| PackageName::from(&resolve.packages[id].name));
            (resolve.id_of(id).unwrap_or_default(), package)
        }
        TypeOwner::World(_) | TypeOwner::None => (String::new(), None),
    };
    let docs = docs.item(&interface, &name);
    TypeName { name, interface, package, docs }
}

/// The definition behind any number of aliases.
pub(super) fn definition<'r>(resolve: &'r Resolve, ty: &WitType) -> Option<(TypeId, &'r TypeDef)> {
    let mut ty = *ty;
    // Aliases cannot form a ring; the bound only keeps a broken graph from hanging the host.
    for _ in 0..10_000 {
        let WitType::Id(id) = ty else { return None };
        match &resolve.types[id].kind {
            TypeDefKind::Type(next) => ty = *next,
            _ => return Some((id, &resolve.types[id])),
        }
    }
    None
}

/// A type as it is written in WIT, for messages; cut off where it is long.
pub(super) fn spell(resolve: &Resolve, ty: &WitType) -> String {
    let mut text = String::new();
    spell_into(resolve, ty, &mut text, 0);
    text
}

fn spell_into(resolve: &Resolve, ty: &WitType, out: &mut String, depth: usize) {
    if depth > 8 || out.len() > 200 {
        out.push('…');
        return;
    }
    let id = match ty {
        WitType::Id(id) => *id,
        primitive => return out.push_str(primitive_name(primitive)),
    };
    let def = &resolve.types[id];
    if let Some(name) = &def.name {
        return out.push_str(name);
    }
    let mut generic = |name: &str, parts: &[Option<WitType>]| {
        out.push_str(name);
        for (at, part) in parts.iter().enumerate() {
            out.push_str(if at == 0 { "<" } else { ", " });
            match part {
                Some(ty) => spell_into(resolve, ty, out, depth + 1),
                None => out.push('_'),
            }
        }
        out.push_str(if parts.is_empty() { "" } else { ">" });
    };
    match &def.kind {
        TypeDefKind::Type(ty) => spell_into(resolve, ty, out, depth + 1),
        TypeDefKind::Option(ty) => generic("option", &[Some(*ty)]),
        TypeDefKind::List(ty) => generic("list", &[Some(*ty)]),
        TypeDefKind::Tuple(tuple) => generic("tuple", &tuple.types.iter().copied().map(Some).collect::<Vec<_>>()),
        TypeDefKind::Result(result) => match (result.ok, result.err) {
            (None, None) => generic("result", &[]),
            (ok, None) => generic("result", &[ok]),
            (ok, err) => generic("result", &[ok, err]),
        },
        TypeDefKind::Handle(Handle::Own(id)) => generic("own", &[Some(WitType::Id(*id))]),
        TypeDefKind::Handle(Handle::Borrow(id)) => generic("borrow", &[Some(WitType::Id(*id))]),
        TypeDefKind::Map(key, value) => generic("map", &[Some(*key), Some(*value)]),
        TypeDefKind::Future(ty) => generic("future", ty.map(Some).as_slice()),
        TypeDefKind::Stream(ty) => generic("stream", ty.map(Some).as_slice()),
        TypeDefKind::FixedLengthList(ty, len) => {
            generic("list", &[Some(*ty)]);
            out.pop();
            out.push_str(&format!(", {len}>"));
        }
        other => out.push_str(other.as_str()),
    }
}

const fn primitive_name(ty: &WitType) -> &'static str {
    match ty {
        WitType::Bool => "bool",
        WitType::U8 => "u8",
        WitType::U16 => "u16",
        WitType::U32 => "u32",
        WitType::U64 => "u64",
        WitType::S8 => "s8",
        WitType::S16 => "s16",
        WitType::S32 => "s32",
        WitType::S64 => "s64",
        WitType::F32 => "f32",
        WitType::F64 => "f64",
        WitType::Char => "char",
        WitType::String => "string",
        WitType::ErrorContext => "error-context",
        WitType::Id(_) => "type",
    }
}
