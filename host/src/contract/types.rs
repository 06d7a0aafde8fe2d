//! Types as the protocols need them: names ready for the wire and for component values, shared where WIT names them.

use std::ops::Deref;
use std::sync::Arc;

use super::names::snake;
use super::plan::PackageName;

/// A type that can be published.
#[derive(Debug)]
pub enum Type {
    /// `bool`.
    Bool,
    /// `s8`.
    S8,
    /// `u8`.
    U8,
    /// `s16`.
    S16,
    /// `u16`.
    U16,
    /// `s32`.
    S32,
    /// `u32`.
    U32,
    /// `s64`.
    S64,
    /// `u64`.
    U64,
    /// `f32`.
    F32,
    /// `f64`.
    F64,
    /// `char`.
    Char,
    /// `string`.
    String,
    /// `list<u8>`.
    Bytes,
    /// A list of anything else.
    List(Arc<Type>),
    /// `option<T>`.
    Option(OptionType),
    /// A record.
    Record(Record),
    /// A tuple.
    Tuple(Box<[Arc<Type>]>),
    /// An enum.
    Enum(Labels),
    /// A variant.
    Variant(Variant),
    /// Flags.
    Flags(Labels),
    /// A `result` that is no function's own.
    Result {
        /// The payload of ok.
        ok: Option<Arc<Type>>,
        /// The payload of err.
        err: Option<Arc<Type>>,
    },
}

impl Type {
    /// An option of this type.
    #[must_use]
    pub fn option(inner: Arc<Self>) -> Self {
        let wrapped = matches!(*inner, Self::Option(_));
        Self::Option(OptionType { inner, wrapped })
    }

    /// The type without an option around it.
    #[must_use]
    pub fn without_option(&self) -> &Self {
        match self {
            Self::Option(option) => &option.inner,
            other => other,
        }
    }

    /// Whether a text of a path or a query can be such a value.
    #[must_use]
    pub const fn is_scalar(&self) -> bool {
        match self {
            Self::List(_)
            | Self::Option(_)
            | Self::Record(_)
            | Self::Tuple(_)
            | Self::Variant(_)
            | Self::Flags(_)
            | Self::Result { .. } => false,
            Self::Bool
            | Self::S8
            | Self::U8
            | Self::S16
            | Self::U16
            | Self::S32
            | Self::U32
            | Self::S64
            | Self::U64
            | Self::F32
            | Self::F64
            | Self::Char
            | Self::String
            | Self::Bytes
            | Self::Enum(_) => true,
        }
    }
}

/// Where a named type comes from.
#[derive(Debug, Clone)]
pub struct TypeName {
    /// The name in WIT.
    pub name: String,
    /// The full name of the interface that defines it, such as `arcana:user/types@1.0.0`.
    pub interface: String,
    /// The package of that interface.
    pub package: Option<PackageName>,
    /// The doc comment.
    pub docs: Option<String>,
}

/// `option<T>`.
#[derive(Debug)]
pub struct OptionType {
    /// T.
    pub inner: Arc<Type>,
    /// T is an option itself, so that JSON needs the wrapper `{"value": …}`.
    pub wrapped: bool,
}

/// A record.
#[derive(Debug)]
pub struct Record {
    /// Its name.
    pub name: TypeName,
    /// The fields in declaration order.
    pub fields: Fields,
}

/// A field of a record, or a parameter of a function.
#[derive(Debug, Clone)]
pub struct Field {
    /// The name in WIT and in component values.
    pub name: String,
    /// The name in JSON.
    pub json_name: Box<str>,
    /// `"name":`, ready to be written.
    pub key: Box<[u8]>,
    /// The doc comment.
    pub docs: Option<String>,
    /// The type.
    pub ty: Arc<Type>,
    /// What it means when it is absent.
    pub presence: Presence,
}

/// What the absence of a field means.
#[derive(Debug, Clone)]
pub enum Presence {
    /// It is an error.
    Required,
    /// The option is none.
    Optional,
    /// The change keeps what is there. Holds the type that is read in its stead: an option of what `set` takes.
    Change(Arc<Type>),
}

impl Field {
    /// A field; what its absence means follows from the type.
    #[must_use]
    pub fn new(name: &str, ty: Arc<Type>, docs: Option<String>) -> Self {
        let json_name = snake(name);
        let presence = match &*ty {
            Type::Option(_) => Presence::Optional,
            Type::Variant(variant) => match variant.change() {
                Some(set) => Presence::Change(Arc::new(Type::option(set.clone()))),
                None => Presence::Required,
            },
            _ => Presence::Required,
        };
        let key = format!("\"{json_name}\":").into_bytes().into();
        Self { name: name.to_owned(), json_name: json_name.into(), key, docs, ty, presence }
    }
}

/// Fields in declaration order, found by their names in JSON.
#[derive(Debug, Default, Clone)]
pub struct Fields {
    list: Box<[Field]>,
    index: Index,
}

impl Fields {
    /// The position of the field with this JSON name. `hint` is where it is looked for first.
    #[must_use]
    pub fn find(&self, json_name: &str, hint: usize) -> Option<usize> {
        self.index.find(json_name, hint)
    }
}

impl FromIterator<Field> for Fields {
    fn from_iter<I: IntoIterator<Item = Field>>(fields: I) -> Self {
        let list: Box<[Field]> = fields.into_iter().collect();
        let index = list.iter().map(|field| field.json_name.clone()).collect();
        Self { list, index }
    }
}

impl Deref for Fields {
    type Target = [Field];

    fn deref(&self) -> &[Field] {
        &self.list
    }
}

/// The cases of an enum, or flags.
#[derive(Debug)]
pub struct Labels {
    /// The name of the type.
    pub name: TypeName,
    /// In declaration order.
    pub list: Box<[Label]>,
    index: Index,
}

/// A case of an enum, or a flag.
#[derive(Debug)]
pub struct Label {
    /// The name in WIT and in component values.
    pub name: String,
    /// The name in JSON.
    pub json_name: Box<str>,
    /// The doc comment.
    pub docs: Option<String>,
}

impl Labels {
    /// Labels from their WIT names and docs.
    #[must_use]
    pub fn new(name: TypeName, labels: impl IntoIterator<Item = (String, Option<String>)>) -> Self {
        let list: Box<[Label]> =
            labels.into_iter().map(|(name, docs)| Label { json_name: snake(&name).into(), name, docs }).collect();
        let index = list.iter().map(|label| label.json_name.clone()).collect();
        Self { name, list, index }
    }

    /// The label with this JSON name and its position.
    #[must_use]
    pub fn find(&self, json_name: &str) -> Option<(usize, &Label)> {
        let at = self.index.find(json_name, 0)?;
        Some((at, self.list.get(at)?))
    }
}

/// A variant.
#[derive(Debug)]
pub struct Variant {
    /// The name of the type.
    pub name: TypeName,
    /// In declaration order.
    pub cases: Box<[Case]>,
    index: Index,
}

/// A case of a variant.
#[derive(Debug)]
pub struct Case {
    /// The name in WIT and in component values.
    pub name: String,
    /// The name in JSON.
    pub json_name: Box<str>,
    /// The doc comment.
    pub docs: Option<String>,
    /// The payload.
    pub ty: Option<Arc<Type>>,
}

impl Variant {
    /// A variant from the WIT names, docs and payloads of its cases.
    #[must_use]
    pub fn new(name: TypeName, cases: impl IntoIterator<Item = (String, Option<String>, Option<Arc<Type>>)>) -> Self {
        let cases: Box<[Case]> =
            cases.into_iter().map(|(name, docs, ty)| Case { json_name: snake(&name).into(), name, docs, ty }).collect();
        let index = cases.iter().map(|case| case.json_name.clone()).collect();
        Self { name, cases, index }
    }

    /// The position of the case with this JSON name.
    #[must_use]
    pub fn position(&self, json_name: &str) -> Option<usize> {
        self.index.find(json_name, 0)
    }

    /// What `set` takes, where this is a change: exactly `keep`, `clear` and `set(T)`, T not an option.
    #[must_use]
    pub fn change(&self) -> Option<&Arc<Type>> {
        let [keep, clear, set] = &*self.cases else { return None };
        let named = keep.name == "keep" && clear.name == "clear" && set.name == "set";
        let bare = keep.ty.is_none() && clear.ty.is_none();
        set.ty.as_ref().filter(|ty| named && bare && !matches!(***ty, Type::Option(_)))
    }
}

/// Names with their positions.
#[derive(Debug, Default, Clone)]
struct Index {
    names: Box<[Box<str>]>,
    /// Positions in the order of the names; empty where a scan is quicker.
    sorted: Box<[usize]>,
}

/// Up to this many names a scan beats a binary search.
const SCAN: usize = 12;

impl Index {
    fn find(&self, name: &str, hint: usize) -> Option<usize> {
        if self.names.get(hint).is_some_and(|at| **at == *name) {
            return Some(hint);
        }
        if self.sorted.is_empty() {
            return self.names.iter().position(|known| **known == *name);
        }
        let found = self.sorted.binary_search_by(|at| (*self.names[*at]).cmp(name)).ok()?;
        self.sorted.get(found).copied()
    }
}

impl FromIterator<Box<str>> for Index {
    fn from_iter<I: IntoIterator<Item = Box<str>>>(names: I) -> Self {
        let names: Box<[Box<str>]> = names.into_iter().collect();
        let mut sorted: Vec<usize> = if names.len() > SCAN { (0..names.len()).collect() } else { Vec::new() };
        sorted.sort_unstable_by(|a, b| names[*a].cmp(&names[*b]));
        Self { names, sorted: sorted.into() }
    }
}
