//! What a component exports and imports, as plans made once at load.

use std::fmt;
use std::sync::Arc;

use wit_parser::decoding::DecodedWasm;
use wit_parser::{InterfaceId, Resolve, WorldId, WorldItem};

use super::compare;
use super::docs::Docs;
use super::error::ContractError;
use super::fit::{self, Misfits};
use super::names;
use super::planner::Planner;
use super::types::{Fields, Record, Type};

/// What a component exports and imports.
#[derive(Debug)]
pub struct Contract {
    /// The exported interfaces, in the order of the component.
    pub interfaces: Vec<Interface>,
    /// The imported interfaces, in the order of the component; those that only bring types have no functions.
    pub imports: Vec<Import>,
    /// Where it does not fit this host. A component that is linked in spite of the imports named there is fine: names of
    /// parameters and types matter here and not to the linker.
    pub misfits: Misfits,
}

/// An exported interface.
#[derive(Debug)]
pub struct Interface {
    /// The name of the export, such as `arcana:auth/auth-service@1.0.0`.
    pub full_name: String,
    /// The name in its package, such as `auth-service`.
    pub name: String,
    /// The package; absent for an interface that is written inside a world.
    pub package: Option<PackageName>,
    /// The doc comment.
    pub docs: Option<String>,
    /// Every function in declaration order, or why it cannot be published.
    pub functions: Vec<(String, Result<FunctionPlan, ContractError>)>,
}

/// An imported interface, or a function that is imported by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The name of the import, such as `arcana:host/cache@0.1.0`.
    pub name: String,
    /// The functions the component may call, such as `get` or `[method]transaction.commit`.
    pub functions: Vec<String>,
}

/// A WIT package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageName {
    /// `arcana` in `arcana:auth@1.0.0`.
    pub namespace: String,
    /// `auth` in `arcana:auth@1.0.0`.
    pub name: String,
    /// Major, minor and the whole version as text.
    pub version: Option<(u64, u64, String)>,
}

impl PackageName {
    /// The protobuf package: `arcana.auth.v1`; versions below 1 are `v0`.
    #[must_use]
    pub fn proto(&self) -> String {
        let major = self.version.as_ref().map_or(0, |(major, ..)| *major);
        format!("{}.{}.v{major}", names::snake(&self.namespace), names::snake(&self.name))
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.namespace, self.name)?;
        self.version.as_ref().map_or(Ok(()), |(.., version)| write!(f, "@{version}"))
    }
}

impl From<&wit_parser::PackageName> for PackageName {
    fn from(package: &wit_parser::PackageName) -> Self {
        let version = package.version.as_ref().map(|v| (v.major, v.minor, v.to_string()));
        Self { namespace: package.namespace.clone(), name: package.name.clone(), version }
    }
}

/// How a function is called.
#[derive(Debug, Clone)]
pub struct FunctionPlan {
    /// The name in WIT.
    pub name: String,
    /// The doc comment.
    pub docs: Option<String>,
    /// The parameters in order.
    pub params: Arc<Fields>,
    /// What it answers.
    pub result: ResultPlan,
    /// Which of the two are streams; the type is that of one message then.
    pub streams: Streams,
}

/// The sides of a function that are streams of messages. Only functions of the host itself have any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Streams {
    /// The request: its only parameter is a `stream`.
    pub request: bool,
    /// The answer: a success is a `stream`.
    pub answer: bool,
}

impl FunctionPlan {
    /// The record that is the whole request: the only parameter, where it is a record.
    #[must_use]
    pub fn request_record(&self) -> Option<&Record> {
        match self.request_message() {
            Some(Type::Record(record)) => Some(record),
            _ => None,
        }
    }

    /// The type that is the request message itself: the only parameter, where it is a record, or a variant that is streamed.
    #[must_use]
    pub fn request_message(&self) -> Option<&Type> {
        match &**self.params {
            [param] => Some(&*param.ty).filter(|ty| is_message(ty, self.streams.request)),
            _ => None,
        }
    }

    /// The type that is the response message itself: the value, where it is a record, or a variant that is streamed.
    #[must_use]
    pub fn response_message(&self) -> Option<&Type> {
        self.result.ok.as_deref().filter(|ty| is_message(ty, self.streams.answer))
    }
}

const fn is_message(ty: &Type, streamed: bool) -> bool {
    matches!(ty, Type::Record(_)) || streamed && matches!(ty, Type::Variant(_))
}

/// What a function answers.
#[derive(Debug, Clone)]
pub struct ResultPlan {
    /// The value of a success, where there is one.
    pub ok: Option<Arc<Type>>,
    /// The function may answer a `problem` instead.
    pub fallible: bool,
}

impl Contract {
    /// Reads a component's type. `wit` holds the contents of its `arcana:wit` sections, each one encoded WIT package;
    /// their docs go into the plans.
    ///
    /// Types that cannot be published are no error here but one of [`Interface::publish`].
    ///
    /// # Errors
    /// [`ContractError::Unreadable`], [`ContractError::UnreadableWit`] and [`ContractError::WitDiffers`].
    pub fn decode<'a>(component: &[u8], wit: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, ContractError> {
        let decoded = wit_component::decode(component).map_err(|e| ContractError::Unreadable(format!("{e:#}")))?;
        let DecodedWasm::Component(resolve, world) = decoded else {
            return Err(ContractError::Unreadable("this is a WIT package, not a component".into()));
        };
        let mut docs = Docs::default();
        for section in wit {
            let decoded = wit_component::decode(section).map_err(|e| ContractError::UnreadableWit(format!("{e:#}")))?;
            let DecodedWasm::WitPackage(described, package) = decoded else {
                return Err(ContractError::UnreadableWit("this is a component, not a WIT package".into()));
            };
            compare::compare(&resolve, world, &described, package)?;
            docs.add(&described, package);
        }
        let misfits = fit::misfits(&resolve, world)?;
        Ok(Self { misfits, ..Self::from_world(&resolve, world, &docs) })
    }

    /// The contract of a world, not compared with this host.
    #[must_use]
    pub fn from_world(resolve: &Resolve, world: WorldId, docs: &Docs) -> Self {
        let world = &resolve.worlds[world];
        let mut planner = Planner::new(resolve, docs);
        let interfaces = world
            .exports
            .iter()
            .filter_map(|(key, item)| match item {
                WorldItem::Interface { id, .. } => Some(interface(&mut planner, *id, resolve.name_world_key(key))),
                WorldItem::Function(_) | WorldItem::Type { .. } => None,
            })
            .collect();
        let imports = world
            .imports
            .iter()
            .filter_map(|(key, item)| {
                let functions = match item {
                    WorldItem::Interface { id, .. } => resolve.interfaces[*id].functions.keys().cloned().collect(),
                    WorldItem::Function(function) => vec![function.name.clone()],
                    WorldItem::Type { .. } => return None,
                };
                Some(Import { name: resolve.name_world_key(key), functions })
            })
            .collect();
        Self { interfaces, imports, misfits: Misfits::default() }
    }

    /// The exported interface with this full or short name.
    ///
    /// # Errors
    /// [`ContractError::NotExported`], also where a short name stands for two interfaces.
    pub fn interface(&self, name: &str) -> Result<&Interface, ContractError> {
        if let Some(found) = self.interfaces.iter().find(|i| i.full_name == name) {
            return Ok(found);
        }
        let mut short = self.interfaces.iter().filter(|i| i.name == name);
        match (short.next(), short.next()) {
            (Some(found), None) => Ok(found),
            _ => Err(ContractError::NotExported {
                what: "interface",
                name: name.to_owned(),
                available: self.interfaces.iter().map(|i| i.full_name.clone()).collect(),
            }),
        }
    }

    /// The function that a manifest calls `interface.function`, checked to be publishable. The interface may be given
    /// by its short or its full name.
    ///
    /// # Errors
    /// [`ContractError::BadCall`], [`ContractError::NotExported`] and those of [`Interface::publish`].
    pub fn publish(&self, call: &str) -> Result<(&Interface, &FunctionPlan), ContractError> {
        // The version of a full name holds dots too; the name of a function never does.
        let (interface, function) = call.rsplit_once('.').ok_or_else(|| ContractError::BadCall(call.to_owned()))?;
        let interface = self.interface(interface)?;
        Ok((interface, interface.publish(function)?))
    }
}

impl Interface {
    /// The interfaces of the last of these WIT packages, each a name for messages and a text; those before it are what it
    /// uses. For what the host itself offers: its functions may have streams.
    ///
    /// # Errors
    /// [`ContractError::UnreadableWit`]
    pub fn parse(packages: &[(&str, &str)]) -> Result<Vec<Self>, ContractError> {
        let mut resolve = Resolve::default();
        let mut docs = Docs::default();
        let mut last = None;
        for (path, wit) in packages {
            let package =
                resolve.push_str(path, wit).map_err(|error| ContractError::UnreadableWit(format!("{error:#}")))?;
            docs.add(&resolve, package);
            last = Some(package);
        }
        let mut planner = Planner::new(&resolve, &docs).with_streams();
        let interfaces = last.into_iter().flat_map(|package| resolve.packages[package].interfaces.values());
        Ok(interfaces.map(|id| interface(&mut planner, *id, resolve.id_of(*id).unwrap_or_default())).collect())
    }

    /// The plan of a function that is to be published.
    ///
    /// # Errors
    /// [`ContractError::NotExported`], or why the function cannot be published: [`ContractError::Parameter`],
    /// [`ContractError::Result`], [`ContractError::Function`], [`ContractError::Collision`].
    pub fn publish(&self, function: &str) -> Result<&FunctionPlan, ContractError> {
        let found = self.functions.iter().find(|(name, _)| name == function);
        let (_, plan) = found.ok_or_else(|| ContractError::NotExported {
            what: "function",
            name: format!("{}.{function}", self.name),
            available: self.functions.iter().map(|(name, _)| name.clone()).collect(),
        })?;
        let plan = plan.as_ref().map_err(Clone::clone)?;
        names::check([(self, plan)])?;
        Ok(plan)
    }
}

fn interface(planner: &mut Planner<'_>, id: InterfaceId, full_name: String) -> Interface {
    let resolve = planner.resolve;
    let wit = &resolve.interfaces[id];
    let package = wit.package.filter(|_| wit.name.is_some()).map(|id| PackageName::from(&resolve.packages[id].name));
    let functions = wit
        .functions
        .iter()
        .map(|(name, function)| {
            let plan = match package {
                Some(_) => planner.function(&full_name, function),
                None => Err(ContractError::Function {
                    interface: full_name.clone(),
                    function: name.clone(),
                    reason: "its interface has no package to be named after".into(),
                }),
            };
            (name.clone(), plan)
        })
        .collect();
    let name = wit.name.clone().unwrap_or_else(|| full_name.clone());
    let docs = planner.docs.interface(&full_name);
    Interface { full_name, name, package, docs, functions }
}
