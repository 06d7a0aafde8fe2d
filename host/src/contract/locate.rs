//! Where a named value is among a call's parameters: what access rules and rate limits look at.

use std::borrow::Cow;

use wasmtime::component::Val;

use super::plan::FunctionPlan;
use super::types::{Fields, Type};

/// The place of a value, found once at load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Locator {
    param: usize,
    field: Option<usize>,
}

impl Locator {
    pub(super) fn find(params: &Fields, name: &str) -> Option<Self> {
        let at = |fields: &Fields| {
            let at = fields.iter().position(|field| field.name == name || *field.json_name == *name)?;
            fields.get(at)?.ty.without_option().is_scalar().then_some(at)
        };
        if let Some(param) = at(params) {
            return Some(Self { param, field: None });
        }
        let mut records = params.iter().enumerate().filter_map(|(param, field)| match &*field.ty {
            Type::Record(record) => Some((param, record)),
            _ => None,
        });
        match (records.next(), records.next()) {
            (Some((param, record)), None) => Some(Self { param, field: Some(at(&record.fields)?) }),
            _ => None,
        }
    }

    /// The name of the value in JSON; none where these are not the parameters that it was found in.
    #[must_use]
    pub fn name<'f>(&self, params: &'f Fields) -> Option<&'f str> {
        let param = params.get(self.param)?;
        let Some(at) = self.field else { return Some(&param.json_name) };
        match &*param.ty {
            Type::Record(record) => Some(&record.fields.get(at)?.json_name),
            _ => None,
        }
    }

    /// The value as text; none where an option is none.
    #[must_use]
    pub fn text<'v>(&self, params: &'v [Val]) -> Option<Cow<'v, str>> {
        let mut value = params.get(self.param)?;
        if let (Some(field), Val::Record(fields)) = (self.field, value) {
            value = &fields.get(field)?.1;
        }
        if let Val::Option(option) = value {
            value = option.as_deref()?;
        }
        Some(match value {
            Val::String(text) | Val::Enum(text) => Cow::Borrowed(text),
            Val::Bool(v) => v.to_string().into(),
            Val::S8(v) => v.to_string().into(),
            Val::U8(v) => v.to_string().into(),
            Val::S16(v) => v.to_string().into(),
            Val::U16(v) => v.to_string().into(),
            Val::S32(v) => v.to_string().into(),
            Val::U32(v) => v.to_string().into(),
            Val::S64(v) => v.to_string().into(),
            Val::U64(v) => v.to_string().into(),
            Val::Char(v) => v.to_string().into(),
            _ => return None,
        })
    }
}

impl FunctionPlan {
    /// The place of a scalar, seen through an option: the parameter with this WIT or JSON name, or else the field with
    /// this name of the only record among the parameters.
    #[must_use]
    pub fn locate(&self, name: &str) -> Option<Locator> {
        Locator::find(&self.params, name)
    }
}
