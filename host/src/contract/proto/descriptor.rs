//! The files that describe services, and what is found in them by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto};

use super::build::Builder;
use super::merge::{self, Disagreement};
use crate::contract::error::ContractError;
use crate::contract::plan::{FunctionPlan, PackageName};

/// An interface with those of its functions that are published.
#[derive(Debug, Clone)]
pub struct Service<'a> {
    /// The package of the interface.
    pub package: &'a PackageName,
    /// The name of the interface in WIT.
    pub name: &'a str,
    /// The doc comment of the interface.
    pub docs: Option<&'a str>,
    /// The functions in the order that their methods are listed in.
    pub functions: Vec<&'a FunctionPlan>,
}

/// Files of descriptors by their names, such as `arcana/user/v1/user.proto`: one for each package, and
/// `google/protobuf/empty.proto` where it is used. The same services give the same files, byte by byte.
///
/// In a file the services stand in the order of their names; messages and enums in the order in which the services use
/// them first, and then those that only other files use.
#[derive(Debug, Clone, Default)]
pub struct Files(pub(super) BTreeMap<String, Arc<FileDescriptorProto>>);

impl FromIterator<FileDescriptorProto> for Files {
    fn from_iter<I: IntoIterator<Item = FileDescriptorProto>>(files: I) -> Self {
        Self(files.into_iter().map(|file| (file.name().to_owned(), Arc::new(file))).collect())
    }
}

impl Files {
    /// Describes the services of one component, with every type that they use and all doc comments.
    ///
    /// # Errors
    /// [`ContractError::Collision`] where two things would have one name, [`ContractError::Function`] where a type has no
    /// form in protobuf: it belongs to no package, or nests more types without names than a `.proto` file may.
    pub fn of<'a>(services: impl IntoIterator<Item = Service<'a>>) -> Result<Self, ContractError> {
        let mut builder = Builder::default();
        for service in services {
            builder.service(&service)?;
        }
        Ok(Self(builder.finish()))
    }

    /// Adds the services and types of other files. Of a type that both have the larger one is kept, where it is the
    /// smaller one with something appended.
    ///
    /// # Errors
    /// A name that stands for different things; nothing is added then.
    pub fn merge(&mut self, other: &Self) -> Result<(), Disagreement> {
        let mut merged = self.0.clone();
        for (name, theirs) in &other.0 {
            match merged.get_mut(name) {
                Some(ours) if Arc::ptr_eq(ours, theirs) => {}
                Some(ours) => *ours = Arc::new(merge::join(ours, theirs)?),
                None => {
                    merged.insert(name.clone(), theirs.clone());
                }
            }
        }
        self.0 = merged;
        Ok(())
    }

    /// Every file, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<FileDescriptorProto>> {
        self.0.values()
    }

    /// The file with this name.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&Arc<FileDescriptorProto>> {
        self.0.get(name)
    }

    /// The file that declares this full name: of a service, method, message, field, oneof, enum or value. A value is found
    /// beside its enum, where protobuf has it, and below it, where many clients look.
    #[must_use]
    pub fn of_symbol(&self, symbol: &str) -> Option<&Arc<FileDescriptorProto>> {
        let symbol = symbol.strip_prefix('.').unwrap_or(symbol);
        self.0.values().find(|file| {
            let rest = symbol.strip_prefix(file.package()).and_then(|rest| rest.strip_prefix('.'));
            rest.is_some_and(|rest| declares(file, rest))
        })
    }

    /// The full names of the services, in order.
    #[must_use]
    pub fn services(&self) -> Vec<String> {
        let of = |file: &Arc<FileDescriptorProto>| {
            let package = file.package().to_owned();
            file.service.iter().map(move |service| format!("{package}.{}", service.name())).collect::<Vec<_>>()
        };
        let mut names: Vec<String> = self.0.values().flat_map(of).collect();
        names.sort_unstable();
        names
    }
}

/// Whether a file declares a name that is given without the package.
fn declares(file: &FileDescriptorProto, name: &str) -> bool {
    let (first, rest) = split(name);
    let method = |service: &prost_types::ServiceDescriptorProto| match rest {
        Some(rest) => service.method.iter().any(|method| method.name() == rest),
        None => true,
    };
    file.service.iter().any(|service| service.name() == first && method(service))
        || in_scope(&file.message_type, &file.enum_type, first, rest)
}

fn in_scope(messages: &[DescriptorProto], enums: &[EnumDescriptorProto], first: &str, rest: Option<&str>) -> bool {
    if let Some(message) = messages.iter().find(|message| message.name() == first) {
        let Some(rest) = rest else { return true };
        let (first, rest) = split(rest);
        return in_scope(&message.nested_type, &message.enum_type, first, rest)
            || rest.is_none() && message.field.iter().any(|field| field.name() == first)
            || rest.is_none() && message.oneof_decl.iter().any(|oneof| oneof.name() == first);
    }
    let has = |of: &EnumDescriptorProto, value: &str| of.value.iter().any(|known| known.name() == value);
    match rest {
        Some(rest) => enums.iter().any(|of| of.name() == first && has(of, rest)),
        None => enums.iter().any(|of| of.name() == first || has(of, first)),
    }
}

fn split(name: &str) -> (&str, Option<&str>) {
    name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)))
}
