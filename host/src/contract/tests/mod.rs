mod bind;
mod decode;
mod fit;
mod openapi;
mod openapi_props;
mod plan;
pub(super) mod props;

use std::sync::Arc;

use wit_parser::Resolve;

use super::docs::Docs;
use super::plan::Contract;
use super::types::Type;

pub(super) const TYPES_WIT: &str = include_str!("../../../../wit/types/types.wit");

/// The contract of an interface `api` with this text, whose world is `w`.
pub(super) fn contract(api: &str) -> Contract {
    let (resolve, package) = resolve(api);
    let world = resolve.packages[package].worlds["w"];
    let mut docs = Docs::default();
    docs.add(&resolve, package);
    Contract::from_world(&resolve, world, &docs)
}

pub(super) fn resolve(api: &str) -> (Resolve, wit_parser::PackageId) {
    let mut resolve = Resolve::new();
    resolve.all_features = true;
    resolve.push_source("types.wit", TYPES_WIT).expect("the shared types parse");
    let text = format!(
        "package t:t@1.2.0;\n/// The interface.\ninterface api {{ use arcana:types/types@1.0.0.{{problem, text-change}};\n{api}\n}}\nworld w {{ export api; }}"
    );
    let package = resolve.push_source("t.wit", &text).unwrap_or_else(|e| panic!("{e:#}\n{text}"));
    (resolve, package)
}

/// The type of the parameter of `f: func(p: T)`, with these definitions before it.
pub(super) fn ty(defs: &str, ty: &str) -> Arc<Type> {
    let contract = contract(&format!("{defs}\nf: func(p: {ty});"));
    contract.publish("api.f").expect("the function can be published").1.params[0].ty.clone()
}
