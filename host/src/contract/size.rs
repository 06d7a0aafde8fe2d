//! How large a contract is once it is written out: WIT shares types, and what is made of them (documents, descriptors,
//! comparisons, values) does not always. A hundred nested pairs are a few hundred bytes of WIT and 2^100 parts.
//!
//! Everything here goes over each type once, however often it is used.

use std::collections::HashMap;
use std::ops::AddAssign;
use std::sync::Arc;

use super::plan::{Contract, FunctionPlan};
use super::types::{Type, TypeName};

/// Bytes of a name or of a doc comment that count as one part.
const BYTES_A_PART: usize = 64;

/// Parts: a field, a case, a label, a type at the place where it is used. Long names and doc comments count by their length.
/// Numbers that do not fit are `u64::MAX`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// With the name of a record, variant, enum or flags in the place of its inside, as descriptors and documents have it.
    pub parts: u64,
    /// With the inside of every type at every place where it is used, as values and examples have it.
    pub expanded: u64,
}

/// A function with its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured<'c> {
    /// The full name of its interface.
    pub interface: &'c str,
    /// Its name.
    pub function: &'c str,
    /// Its parameters and its result.
    pub size: Size,
}

/// The sizes of a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes<'c> {
    /// All named types, each once with its inside, and the interfaces.
    pub types: Size,
    /// Every function that could be published.
    pub functions: Vec<Measured<'c>>,
}

impl Size {
    const ONE: Self = Self { parts: 1, expanded: 1 };

    /// So many of it.
    #[must_use]
    pub const fn times(self, count: u64) -> Self {
        Self { parts: self.parts.saturating_mul(count), expanded: self.expanded.saturating_mul(count) }
    }

    fn text(bytes: usize) -> Self {
        let parts = u64::try_from(bytes / BYTES_A_PART).unwrap_or(u64::MAX);
        Self { parts, expanded: parts }
    }
}

impl AddAssign for Size {
    fn add_assign(&mut self, other: Self) {
        self.parts = self.parts.saturating_add(other.parts);
        self.expanded = self.expanded.saturating_add(other.expanded);
    }
}

/// Measures everything that a component exports.
#[must_use]
pub fn of(contract: &Contract) -> Sizes<'_> {
    let mut meter = Meter::default();
    let mut functions = Vec::new();
    for interface in &contract.interfaces {
        meter.types += Size::ONE;
        meter.types += Size::text(interface.full_name.len() + interface.docs.as_ref().map_or(0, String::len));
        for (name, plan) in &interface.functions {
            let Ok(plan) = plan else {
                meter.types += Size::ONE;
                continue;
            };
            functions.push(Measured {
                interface: &interface.full_name,
                function: name,
                size: meter.function(plan, interface.full_name.len()),
            });
        }
    }
    Sizes { types: meter.types, functions }
}

#[derive(Default)]
struct Meter {
    /// By its place in memory: plans share what WIT shares.
    known: HashMap<usize, Size>,
    types: Size,
}

impl Meter {
    fn function(&mut self, plan: &FunctionPlan, interface: usize) -> Size {
        let mut size = Size::ONE;
        size += Size::text(interface + plan.name.len() + plan.docs.as_ref().map_or(0, String::len));
        for param in plan.params.iter() {
            size += self.member(&param.name, param.docs.as_deref(), Some(&param.ty));
        }
        if let Some(ok) = &plan.result.ok {
            size += self.ty(ok);
        }
        size
    }

    fn member(&mut self, name: &str, docs: Option<&str>, ty: Option<&Arc<Type>>) -> Size {
        let mut size = Size::ONE;
        size += Size::text(name.len() + docs.map_or(0, str::len));
        if let Some(ty) = ty {
            size += self.ty(ty);
        }
        size
    }

    fn ty(&mut self, ty: &Arc<Type>) -> Size {
        let place = Arc::as_ptr(ty).addr();
        if let Some(size) = self.known.get(&place) {
            return *size;
        }
        let size = self.inside(ty);
        self.known.insert(place, size);
        size
    }

    fn inside(&mut self, ty: &Type) -> Size {
        let mut size = Size::ONE;
        match ty {
            Type::List(item) => size += self.ty(item),
            Type::Option(option) => size += self.ty(&option.inner),
            Type::Tuple(items) => {
                for item in items {
                    size += self.ty(item);
                }
            }
            Type::Result { ok, err } => {
                for part in ok.iter().chain(err) {
                    size += self.ty(part);
                }
            }
            Type::Record(record) => {
                for field in record.fields.iter() {
                    size += self.member(&field.name, field.docs.as_deref(), Some(&field.ty));
                }
                return self.named(&record.name, size);
            }
            Type::Variant(variant) => {
                for case in &variant.cases {
                    size += self.member(&case.name, case.docs.as_deref(), case.ty.as_ref());
                }
                return self.named(&variant.name, size);
            }
            Type::Enum(labels) | Type::Flags(labels) => {
                for label in &labels.list {
                    size += self.member(&label.name, label.docs.as_deref(), None);
                }
                return self.named(&labels.name, size);
            }
            Type::Bool
            | Type::S8
            | Type::U8
            | Type::S16
            | Type::U16
            | Type::S32
            | Type::U32
            | Type::S64
            | Type::U64
            | Type::F32
            | Type::F64
            | Type::Char
            | Type::String
            | Type::Bytes => {}
        }
        size
    }

    /// The inside counts once for the type, and the name at every place.
    fn named(&mut self, name: &TypeName, mut inside: Size) -> Size {
        inside += Size::text(name.docs.as_ref().map_or(0, String::len));
        self.types += inside;
        let mut place = Size::ONE;
        place += Size::text(name.interface.len() + name.name.len());
        Size { parts: place.parts, expanded: inside.expanded.saturating_add(place.parts) }
    }
}
