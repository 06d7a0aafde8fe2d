//! Functions with a parameter of every type.

use arcana::contract::docs::Docs;
use arcana::contract::{Contract, FunctionPlan};
use wit_parser::Resolve;

/// The plans of both functions.
pub fn plans() -> [FunctionPlan; 2] {
    let mut resolve = Resolve::new();
    resolve.push_source("types.wit", include_str!("../../../wit/types/types.wit")).expect("the shared types parse");
    let package = resolve.push_source("every-type.wit", include_str!("../every-type.wit")).expect("the types parse");
    let world = resolve.packages[package].worlds["w"];
    let contract = Contract::from_world(&resolve, world, &Docs::default());
    ["api.alone", "api.apart"].map(|call| contract.publish(call).expect("publishable").1.clone())
}
