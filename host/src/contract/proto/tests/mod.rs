mod codec;
mod descriptor;
mod streams;
mod text;

use prost_reflect::DescriptorPool;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

use super::{Files, Service};
use crate::contract::{Contract, ContractError};

/// The services of a contract with every function that can be published.
pub(super) fn describe(contract: &Contract) -> Result<Files, ContractError> {
    Files::of(contract.interfaces.iter().filter_map(|interface| {
        let functions = interface.functions.iter().filter_map(|(_, plan)| plan.as_ref().ok()).collect();
        let docs = interface.docs.as_deref();
        Some(Service { package: interface.package.as_ref()?, name: &interface.name, docs, functions })
    }))
}

/// The files of the test interface `t:t/api@1.2.0` with these definitions and functions.
pub(super) fn files(api: &str) -> Result<Files, ContractError> {
    describe(&crate::contract::tests::contract(api))
}

/// Judged by a library that links descriptors as clients do: names, numbers, scopes, JSON names, oneofs.
pub(super) fn pool(files: &Files) -> DescriptorPool {
    let mut names: Vec<&str> = Vec::new();
    // Files after those that they import.
    while names.len() < files.iter().count() {
        let ready = |file: &FileDescriptorProto| file.dependency.iter().all(|name| names.contains(&name.as_str()));
        let next = files.iter().find(|file| !names.contains(&file.name()) && ready(file));
        names.push(next.expect("every import is there, and none is a ring").name());
    }
    let file = names.iter().map(|name| FileDescriptorProto::clone(files.file(name).expect("listed"))).collect();
    DescriptorPool::from_file_descriptor_set(FileDescriptorSet { file }).unwrap_or_else(|e| panic!("{e}: {files:#?}"))
}
