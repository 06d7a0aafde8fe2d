//! WIT names as the protocols write them, and the check that they stay apart.

use std::collections::HashMap;

use super::error::ContractError;
use super::plan::{FunctionPlan, Interface, PackageName};
use super::types::{Type, TypeName};

/// One byte of a kebab-case name in snake_case. WIT names are ASCII letters, digits and hyphens.
pub(crate) const fn snake_byte(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte.to_ascii_lowercase() }
}

/// `access-token` as `access_token`: names in JSON and of protobuf fields.
#[must_use]
pub fn snake(kebab: &str) -> String {
    kebab.bytes().map(|byte| char::from(snake_byte(byte))).collect()
}

/// `auth-service` as `AuthService`: names of protobuf messages, services and methods.
#[must_use]
pub fn camel(kebab: &str) -> String {
    let mut name = String::with_capacity(kebab.len());
    for word in kebab.split('-') {
        let mut letters = word.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.extend(letters.map(|letter| letter.to_ascii_lowercase()));
    }
    name
}

/// Refuses published functions whose services or messages would have the same name: types of two interfaces or two
/// versions of a package, and requests and responses that are derived from the name of a function.
///
/// # Errors
/// [`ContractError::Collision`] with both origins.
pub fn check<'a>(published: impl IntoIterator<Item = (&'a Interface, &'a FunctionPlan)>) -> Result<(), ContractError> {
    let mut taken = Taken::default();
    for (interface, function) in published {
        let package = interface.package.as_ref().map(PackageName::proto).unwrap_or_default();
        taken.take(&package, camel(&interface.name), format!("the interface `{}`", interface.full_name))?;
        let origin = |part: &str| format!("the {part} of function `{}` of `{}`", function.name, interface.full_name);
        if function.request_message().is_none() {
            taken.take(&package, format!("{}Request", camel(&function.name)), origin("request"))?;
        }
        if function.response_message().is_none() {
            taken.take(&package, format!("{}Response", camel(&function.name)), origin("response"))?;
        }
        let result = function.result.ok.iter();
        for ty in function.params.iter().map(|param| &param.ty).chain(result) {
            taken.take_types(ty)?;
        }
    }
    Ok(())
}

#[derive(Default)]
struct Taken(HashMap<String, String>);

impl Taken {
    fn take(&mut self, package: &str, name: String, origin: String) -> Result<(), ContractError> {
        let name = format!("{package}.{name}");
        match self.0.get(&name) {
            Some(first) if *first != origin => {
                Err(ContractError::Collision { name, first: first.clone(), second: origin })
            }
            Some(_) => Ok(()),
            None => {
                self.0.insert(name, origin);
                Ok(())
            }
        }
    }

    fn take_types(&mut self, ty: &Type) -> Result<(), ContractError> {
        match ty {
            Type::List(item) => self.take_types(item),
            Type::Option(option) => self.take_types(&option.inner),
            Type::Tuple(items) => items.iter().try_for_each(|item| self.take_types(item)),
            Type::Result { ok, err } => ok.iter().chain(err).try_for_each(|part| self.take_types(part)),
            Type::Enum(labels) | Type::Flags(labels) => self.take_named(&labels.name).map(drop),
            Type::Record(record) if self.take_named(&record.name)? => {
                record.fields.iter().try_for_each(|field| self.take_types(&field.ty))
            }
            Type::Variant(variant) if self.take_named(&variant.name)? => {
                variant.cases.iter().filter_map(|case| case.ty.as_ref()).try_for_each(|ty| self.take_types(ty))
            }
            _ => Ok(()),
        }
    }

    /// True when the name is met for the first time: its parts need a visit only then.
    fn take_named(&mut self, name: &TypeName) -> Result<bool, ContractError> {
        let before = self.0.len();
        let package = name.package.as_ref().map(PackageName::proto).unwrap_or_default();
        self.take(&package, camel(&name.name), format!("the type `{}` of `{}`", name.name, name.interface))?;
        Ok(self.0.len() > before)
    }
}
