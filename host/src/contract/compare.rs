//! Whether the WIT a plugin carries is the WIT of its component.

use std::collections::HashSet;

use wit_parser::{Function, InterfaceId, PackageId, Resolve, Type as WitType, TypeDefKind, TypeId, WorldId, WorldItem};

use super::error::ContractError;
use super::planner::{MAX_DEPTH, definition, spell};

/// Compares the interfaces of a WIT package with those the component exports, whole, and with those it imports, as far
/// as they go: a component imports only what it uses.
pub(super) fn compare(
    component: &Resolve,
    world: WorldId,
    wit: &Resolve,
    package: PackageId,
) -> Result<(), ContractError> {
    let mut comparison = Comparison { component, wit, seen: HashSet::new() };
    let world = &component.worlds[world];
    let items = world.imports.values().map(|item| (item, false));
    for (item, exported) in items.chain(world.exports.values().map(|item| (item, true))) {
        let WorldItem::Interface { id, .. } = item else { continue };
        let Some(name) = component.id_of(*id) else { continue };
        let described = wit.packages[package].interfaces.values().find(|d| wit.id_of(**d).as_deref() == Some(&name));
        if let Some(described) = described {
            comparison.interface(&name, *id, *described, exported)?;
        }
    }
    Ok(())
}

/// Whether two functions have the same parameters and the same result, and where they part.
pub(super) fn functions(
    component: &Resolve,
    ours: &Function,
    wit: &Resolve,
    theirs: &Function,
) -> Result<(), ContractError> {
    let place = format!("function `{}`", ours.item_name());
    Comparison { component, wit, seen: HashSet::new() }.function(&place, ours, theirs)
}

struct Comparison<'a> {
    component: &'a Resolve,
    wit: &'a Resolve,
    /// Pairs that are equal, or whose comparison is under way.
    seen: HashSet<(TypeId, TypeId)>,
}

impl Comparison<'_> {
    fn interface(
        &mut self,
        name: &str,
        ours: InterfaceId,
        theirs: InterfaceId,
        whole: bool,
    ) -> Result<(), ContractError> {
        let (ours, theirs) = (&self.component.interfaces[ours], &self.wit.interfaces[theirs]);
        for (function, our) in &ours.functions {
            let place = format!("function `{function}` of `{name}`");
            match theirs.functions.get(function) {
                Some(their) => self.function(&place, our, their)?,
                None => return Err(differs(place, "it", "none")),
            }
        }
        for (ty, our) in &ours.types {
            let place = format!("type `{ty}` of `{name}`");
            match theirs.types.get(ty) {
                Some(their) => self.ty(&place, &WitType::Id(*our), &WitType::Id(*their), 0)?,
                None => return Err(differs(place, "it", "none")),
            }
        }
        if !whole {
            return Ok(());
        }
        if let Some(missing) = theirs.functions.keys().find(|f| !ours.functions.contains_key(*f)) {
            return Err(differs(format!("function `{missing}` of `{name}`"), "none", "it"));
        }
        Ok(())
    }

    fn function(&mut self, place: &str, ours: &Function, theirs: &Function) -> Result<(), ContractError> {
        let count = |f: &Function| format!("{} parameters", f.params.len());
        if ours.params.len() != theirs.params.len() {
            return Err(differs(place, count(ours), count(theirs)));
        }
        for (our, their) in ours.params.iter().zip(&theirs.params) {
            if our.name != their.name {
                return Err(differs(place, format!("the parameter `{}`", our.name), format!("`{}`", their.name)));
            }
            self.ty(&format!("{place}, parameter `{}`", our.name), &our.ty, &their.ty, 0)?;
        }
        self.optional(&format!("{place}, result"), ours.result.as_ref(), theirs.result.as_ref(), 0)
    }

    fn optional(
        &mut self,
        place: &str,
        ours: Option<&WitType>,
        theirs: Option<&WitType>,
        depth: usize,
    ) -> Result<(), ContractError> {
        match (ours, theirs) {
            (None, None) => Ok(()),
            (Some(ours), Some(theirs)) => self.ty(place, ours, theirs, depth),
            (Some(ours), None) => Err(differs(place, quoted(self.component, ours), "none")),
            (None, Some(theirs)) => Err(differs(place, "none", quoted(self.wit, theirs))),
        }
    }

    fn ty(&mut self, place: &str, ours: &WitType, theirs: &WitType, depth: usize) -> Result<(), ContractError> {
        use TypeDefKind as K;
        let differ = || differs(place, quoted(self.component, ours), quoted(self.wit, theirs));
        if depth > MAX_DEPTH {
            return Err(differs(place, "deeper nesting than is allowed", "the same"));
        }
        let (our, their) = match (definition(self.component, ours), definition(self.wit, theirs)) {
            (Some(our), Some(their)) => (our, their),
            // A primitive behind any aliases on both sides.
            (None, None) => {
                return if primitive(self.component, ours) == primitive(self.wit, theirs) {
                    Ok(())
                } else {
                    Err(differ())
                };
            }
            _ => return Err(differ()),
        };
        let ((our_id, our), (their_id, their)) = (our, their);
        if our.name.is_some() && their.name.is_some() && our.name != their.name {
            return Err(differ());
        }
        if !self.seen.insert((our_id, their_id)) {
            return Ok(());
        }
        let names_differ = |ours: Vec<&str>, theirs: Vec<&str>| {
            (ours != theirs).then(|| differs(place, listed(&ours), listed(&theirs)))
        };
        match (&our.kind, &their.kind) {
            (K::Record(ours), K::Record(theirs)) => {
                let names = |r: &'_ wit_parser::Record| r.fields.iter().map(|f| f.name.clone()).collect::<Vec<_>>();
                let (our_names, their_names) = (names(ours), names(theirs));
                if let Some(e) = names_differ(strs(&our_names), strs(&their_names)) {
                    return Err(e);
                }
                for (our, their) in ours.fields.iter().zip(&theirs.fields) {
                    self.ty(&format!("{place}, field `{}`", our.name), &our.ty, &their.ty, depth + 1)?;
                }
                Ok(())
            }
            (K::Variant(ours), K::Variant(theirs)) => {
                let names = |v: &'_ wit_parser::Variant| v.cases.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
                let (our_names, their_names) = (names(ours), names(theirs));
                if let Some(e) = names_differ(strs(&our_names), strs(&their_names)) {
                    return Err(e);
                }
                for (our, their) in ours.cases.iter().zip(&theirs.cases) {
                    let place = format!("{place}, case `{}`", our.name);
                    self.optional(&place, our.ty.as_ref(), their.ty.as_ref(), depth + 1)?;
                }
                Ok(())
            }
            (K::Enum(ours), K::Enum(theirs)) => {
                let names = |e: &'_ wit_parser::Enum| e.cases.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
                names_differ(strs(&names(ours)), strs(&names(theirs))).map_or(Ok(()), Err)
            }
            (K::Flags(ours), K::Flags(theirs)) => {
                let names = |f: &'_ wit_parser::Flags| f.flags.iter().map(|f| f.name.clone()).collect::<Vec<_>>();
                names_differ(strs(&names(ours)), strs(&names(theirs))).map_or(Ok(()), Err)
            }
            (K::Tuple(ours), K::Tuple(theirs)) if ours.types.len() == theirs.types.len() => {
                let mut pairs = ours.types.iter().zip(&theirs.types);
                pairs.try_for_each(|(our, their)| self.ty(place, our, their, depth + 1))
            }
            (K::Option(ours), K::Option(theirs)) | (K::List(ours), K::List(theirs)) => {
                self.ty(place, ours, theirs, depth + 1)
            }
            (K::FixedLengthList(ours, n), K::FixedLengthList(theirs, m)) if n == m => {
                self.ty(place, ours, theirs, depth + 1)
            }
            (K::Map(our_key, our_value), K::Map(their_key, their_value)) => {
                self.ty(place, our_key, their_key, depth + 1)?;
                self.ty(place, our_value, their_value, depth + 1)
            }
            (K::Result(ours), K::Result(theirs)) => {
                self.optional(place, ours.ok.as_ref(), theirs.ok.as_ref(), depth + 1)?;
                self.optional(place, ours.err.as_ref(), theirs.err.as_ref(), depth + 1)
            }
            (K::Future(ours), K::Future(theirs)) | (K::Stream(ours), K::Stream(theirs)) => {
                self.optional(place, ours.as_ref(), theirs.as_ref(), depth + 1)
            }
            (K::Handle(ours), K::Handle(theirs)) => {
                use wit_parser::Handle::{Borrow, Own};
                match (ours, theirs) {
                    (Own(our), Own(their)) | (Borrow(our), Borrow(their)) => {
                        self.ty(place, &WitType::Id(*our), &WitType::Id(*their), depth + 1)
                    }
                    _ => Err(differ()),
                }
            }
            (K::Resource, K::Resource) => Ok(()),
            _ => Err(differ()),
        }
    }
}

fn primitive(resolve: &Resolve, ty: &WitType) -> WitType {
    let mut ty = *ty;
    while let WitType::Id(id) = ty {
        match &resolve.types[id].kind {
            TypeDefKind::Type(next) => ty = *next,
            _ => break,
        }
    }
    ty
}

fn strs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

fn listed(names: &[&str]) -> String {
    format!("`{}`", names.join("`, `"))
}

fn quoted(resolve: &Resolve, ty: &WitType) -> String {
    format!("`{}`", spell(resolve, ty))
}

fn differs(place: impl Into<String>, component: impl Into<String>, wit: impl Into<String>) -> ContractError {
    ContractError::WitDiffers { place: place.into(), component: component.into(), wit: wit.into() }
}
