//! Which part of a request each parameter comes from, decided at load.
//!
//! Path values bind to the parameters with their names. The rest comes from the members of a JSON body, or from the
//! query where the method has no body. Where a single record is left its fields stand in its place, and a path value
//! may also be one of these fields. In a query a list is a repeated key, and no key at all is an empty list.

use std::sync::Arc;

use wasmtime::component::Val;

use super::error::ContractError;
use super::input::{Bad, Errors, NOTHING, Path, Seen, absent, code};
use super::json;
use super::locate::Locator;
use super::names::snake;
use super::plan::FunctionPlan;
use super::text;
use super::types::{Field, Fields, Type};
use crate::problem::Problem;

/// How a request becomes the parameters of a function.
#[derive(Debug)]
pub struct Binding {
    params: Arc<Fields>,
    /// The record parameter that is put together from its fields.
    flat: Option<usize>,
    /// By the names in the route.
    path: Box<[(Box<str>, Slot)]>,
    rest: Rest,
}

/// Where the parameters come from that are not in the path.
#[derive(Debug)]
enum Rest {
    Query(Slots),
    Body(Slots),
}

/// Inputs by their names in JSON, and where each goes.
#[derive(Debug)]
struct Slots {
    fields: Fields,
    targets: Box<[Target]>,
}

/// An input and where it goes.
#[derive(Debug)]
struct Slot {
    field: Field,
    target: Target,
}

/// A parameter, or a field of the one that is put together.
#[derive(Debug, Clone, Copy)]
struct Target {
    param: usize,
    field: Option<usize>,
}

impl Binding {
    /// Decides where each parameter comes from. `path_params` are the names in the route, snake_case or as in WIT;
    /// `has_body` tells whether the method takes a body.
    ///
    /// # Errors
    /// [`ContractError::Binding`]: a name of the route without a parameter, or a parameter whose type no text can be.
    pub fn new(plan: &FunctionPlan, path_params: &[&str], has_body: bool) -> Result<Self, ContractError> {
        let refuse = |reason: String| ContractError::Binding { function: plan.name.clone(), reason };
        let params = &plan.params;
        let named = |field: &Field, name: &str| *field.json_name == *name || field.name == name;
        let is_in_path = |field: &Field| path_params.iter().any(|name| named(field, name));

        let mut left = params.iter().enumerate().filter(|(_, param)| !is_in_path(param));
        let single = match (left.next(), left.next()) {
            (Some((at, Field { ty, .. })), None) => match &**ty {
                Type::Record(record) => Some((at, record)),
                _ => None,
            },
            _ => None,
        };

        let mut inputs: Vec<(Target, &Field)> =
            params.iter().enumerate().map(|(param, field)| (Target { param, field: None }, field)).collect();
        if let Some((param, record)) = single {
            inputs.retain(|(target, _)| target.param != param);
            inputs
                .extend(record.fields.iter().enumerate().map(|(at, field)| (Target { param, field: Some(at) }, field)));
        }

        let mut path: Vec<(Box<str>, Slot)> = Vec::new();
        for name in path_params {
            // Parameters come first in `inputs`, so a field of the record never hides one of the same name.
            let found = inputs.iter().position(|(_, field)| named(field, name));
            let (target, field) = inputs.remove(found.ok_or_else(|| {
                refuse(format!("the route has `{{{name}}}`, which is no parameter, or is there twice"))
            })?);
            if !field.ty.without_option().is_scalar() {
                return Err(refuse(format!(
                    "parameter `{}` is in the route and cannot be read from a text",
                    field.name
                )));
            }
            path.push(((*name).into(), Slot { field: field.clone(), target }));
        }
        if !has_body && let Some((_, field)) = inputs.iter().find(|(_, field)| !is_text(&field.ty)) {
            return Err(refuse(format!(
                "the method has no body, and parameter `{}` cannot be read from the query",
                field.name
            )));
        }
        let mut names = std::collections::HashSet::new();
        if let Some((_, field)) = inputs.iter().find(|(_, field)| !names.insert(&*field.json_name)) {
            return Err(refuse(format!("two inputs are called `{}`", field.json_name)));
        }
        let slots = Slots {
            fields: inputs.iter().map(|(_, field)| (*field).clone()).collect(),
            targets: inputs.iter().map(|(target, _)| *target).collect(),
        };
        Ok(Self {
            params: params.clone(),
            flat: single.map(|(at, _)| at),
            path: path.into(),
            rest: if has_body { Rest::Body(slots) } else { Rest::Query(slots) },
        })
    }

    /// What [`Self::decode`] gives the values of.
    #[must_use]
    pub fn params(&self) -> &[Field] {
        &self.params
    }

    /// Whether the body of a request is read at all.
    #[must_use]
    pub fn reads_body(&self) -> bool {
        matches!(&self.rest, Rest::Body(slots) if !slots.fields.is_empty())
    }

    /// The inputs in the path, by their names in the route, in its order.
    pub fn path_fields(&self) -> impl Iterator<Item = (&str, &Field)> {
        self.path.iter().map(|(name, slot)| (&**name, &slot.field))
    }

    /// The inputs in the query: scalars, lists of them, and options of either.
    #[must_use]
    pub fn query_fields(&self) -> &[Field] {
        match &self.rest {
            Rest::Query(slots) => &slots.fields,
            Rest::Body(_) => &[],
        }
    }

    /// The members of the body.
    #[must_use]
    pub fn body_fields(&self) -> &[Field] {
        match &self.rest {
            Rest::Query(_) => &[],
            Rest::Body(slots) => &slots.fields,
        }
    }

    /// The record that the body is as a whole, where it is one.
    #[must_use]
    pub fn body_type(&self) -> Option<&Type> {
        let Rest::Body(slots) = &self.rest else { return None };
        let param = self.params.get(self.flat?)?;
        match &*param.ty {
            Type::Record(record) if record.fields.len() == slots.fields.len() => Some(&param.ty),
            _ => None,
        }
    }

    /// The place of a scalar among the parameters; see [`FunctionPlan::locate`].
    #[must_use]
    pub fn locate(&self, name: &str) -> Option<Locator> {
        Locator::find(&self.params, name)
    }

    /// The parameters of a call. `path` gives the values of the route's names, `query` is what follows the question
    /// mark, both as they were sent.
    ///
    /// # Errors
    /// A problem of kind malformed where the body is no JSON, else one of kind validation with everything that is wrong
    /// with path, query and body.
    pub fn decode<'r>(
        &self,
        path: impl IntoIterator<Item = (&'r str, &'r str)>,
        query: Option<&str>,
        body: &[u8],
    ) -> Result<Vec<Val>, Problem> {
        let mut errors = Errors::new();
        let mut params = self.blank();
        let mut in_path = Seen::new(self.path.len());
        for (name, raw) in path {
            let slot = self.path.iter().enumerate().find(|(_, (known, _))| **known == *name);
            if let Some((at, (_, Slot { field, target }))) = slot {
                in_path.mark(at);
                if let Some(value) = text_value(field, raw, false, &mut errors) {
                    target.put(&mut params, value);
                }
            }
        }
        for (_, (_, slot)) in self.path.iter().enumerate().filter(|(at, _)| !in_path.has(*at)) {
            errors.add(&Path::Field(&Path::Root, &slot.field.json_name), Bad::required());
        }
        match &self.rest {
            Rest::Query(slots) => slots.read_query(query.unwrap_or_default(), &mut errors, &mut params),
            Rest::Body(slots) if slots.fields.is_empty() => {}
            Rest::Body(slots) => json::fields(&slots.fields, body, &mut errors, |at, value| {
                if let Some(target) = slots.targets.get(at) {
                    target.put(&mut params, value);
                }
            })?,
        }
        if errors.is_empty() { Ok(params) } else { Err(Problem::validation(errors.into_list())) }
    }

    /// Parameters to be filled in; the record that is put together has its names already.
    fn blank(&self) -> Vec<Val> {
        let blank = |(at, param): (usize, &Field)| match &*param.ty {
            Type::Record(record) if self.flat == Some(at) => {
                Val::Record(record.fields.iter().map(|field| (field.name.clone(), NOTHING)).collect())
            }
            _ => NOTHING,
        };
        self.params.iter().enumerate().map(blank).collect()
    }
}

impl Target {
    fn put(self, params: &mut [Val], value: Val) {
        match (params.get_mut(self.param), self.field) {
            (Some(Val::Record(fields)), Some(at)) => {
                if let Some(field) = fields.get_mut(at) {
                    field.1 = value;
                }
            }
            (Some(param), _) => *param = value,
            (None, _) => {}
        }
    }
}

impl Slots {
    fn read_query(&self, query: &str, errors: &mut Errors, params: &mut [Val]) {
        let mut found: Vec<Option<Val>> = vec![None; self.fields.len()];
        let mut seen = Seen::new(self.fields.len());
        for pair in query.split('&') {
            let (key, raw) = pair.split_once('=').unwrap_or((pair, ""));
            // A key that cannot be read is no key of ours.
            let Some((at, field, slot)) = text::unescape(key, true).ok().and_then(|key| {
                let at = self.find(&key)?;
                Some((at, self.fields.get(at)?, found.get_mut(at)?))
            }) else {
                continue;
            };
            let again = seen.mark(at);
            match &**list_item(&field.ty).unwrap_or(&field.ty) {
                _ if errors.is_full() => return,
                _ if list_item(&field.ty).is_none() && again => {
                    let path = Path::Field(&Path::Root, &field.json_name);
                    errors.add(&path, Bad::new(code::DUPLICATE_FIELD, "is there more than once"));
                }
                item if list_item(&field.ty).is_some() => {
                    let Val::List(items) = slot.get_or_insert_with(|| Val::List(Vec::new())) else { continue };
                    let path = Path::Field(&Path::Root, &field.json_name);
                    let path = Path::Item(&path, items.len());
                    errors.spend(&path, 1);
                    match text::unescape(raw, true).and_then(|text| text::scalar(item, text, errors)) {
                        Ok(value) => items.push(value),
                        // Keeps the positions of those that follow.
                        Err(bad) => {
                            errors.add(&path, bad);
                            items.push(NOTHING);
                        }
                    }
                }
                _ => *slot = text_value(field, raw, true, errors),
            }
        }
        for (at, ((field, value), target)) in self.fields.iter().zip(found).zip(&self.targets).enumerate() {
            let is_option = matches!(*field.ty, Type::Option(_));
            let value = match value {
                Some(Val::List(items)) if is_option && list_item(&field.ty).is_some() => {
                    Some(Val::Option(Some(Box::new(Val::List(items)))))
                }
                None if !is_option && list_item(&field.ty).is_some() => Some(Val::List(Vec::new())),
                None if !seen.has(at) => absent(&field.presence),
                other => other,
            };
            match value {
                Some(value) => target.put(params, value),
                None if seen.has(at) => {}
                None => errors.add(&Path::Field(&Path::Root, &field.json_name), Bad::required()),
            }
        }
    }

    fn find(&self, key: &str) -> Option<usize> {
        let found = self.fields.find(key, 0);
        if found.is_none() && key.contains('-') {
            return self.fields.find(&snake(key), 0);
        }
        found
    }
}

/// The scalar that is repeated, where this is a list of scalars or an option of one.
fn list_item(ty: &Type) -> Option<&Arc<Type>> {
    match ty.without_option() {
        Type::List(item) if item.is_scalar() => Some(item),
        _ => None,
    }
}

fn is_text(ty: &Type) -> bool {
    ty.without_option().is_scalar() || list_item(ty).is_some()
}

/// A scalar or an option of one; what is wrong goes to `errors`.
fn text_value(field: &Field, raw: &str, query: bool, errors: &mut Errors) -> Option<Val> {
    let ty = field.ty.without_option();
    match text::unescape(raw, query).and_then(|text| text::scalar(ty, text, errors)) {
        Ok(value) if matches!(*field.ty, Type::Option(_)) => Some(Val::Option(Some(Box::new(value)))),
        Ok(value) => Some(value),
        Err(bad) => {
            errors.add(&Path::Field(&Path::Root, &field.json_name), bad);
            None
        }
    }
}
