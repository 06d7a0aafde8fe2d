//! Doc comments of WIT packages by the names of what they describe: a built component has none.

use std::collections::HashMap;

use wit_parser::{InterfaceId, PackageId, Resolve, TypeDefKind};

/// The doc comments of any number of WIT packages.
#[derive(Debug, Default)]
pub struct Docs {
    /// By full interface name, then item, then member; an empty item is the interface itself, an empty member the item.
    texts: HashMap<String, HashMap<(String, String), String>>,
}

impl Docs {
    /// Adds the docs of a package; a package that was added before loses none of its own.
    pub fn add(&mut self, resolve: &Resolve, package: PackageId) {
        for id in resolve.packages[package].interfaces.values() {
            if let Some(name) = resolve.id_of(*id) {
                let texts = self.texts.entry(name).or_default();
                add_interface(texts, resolve, *id);
            }
        }
    }

    pub(crate) fn interface(&self, interface: &str) -> Option<String> {
        self.member(interface, "", "")
    }

    pub(crate) fn item(&self, interface: &str, item: &str) -> Option<String> {
        self.member(interface, item, "")
    }

    pub(crate) fn member(&self, interface: &str, item: &str, member: &str) -> Option<String> {
        // One look-up a name at load: the key is not worth a borrowed form.
        self.texts.get(interface)?.get(&(item.to_owned(), member.to_owned())).cloned()
    }
}

fn add_interface(texts: &mut HashMap<(String, String), String>, resolve: &Resolve, id: InterfaceId) {
    let interface = &resolve.interfaces[id];
    let mut add = |item: &str, member: &str, docs: &wit_parser::Docs| {
        if let Some(text) = &docs.contents {
            texts.entry((item.to_owned(), member.to_owned())).or_insert_with(|| text.trim().to_owned());
        }
    };
    add("", "", &interface.docs);
    for (name, function) in &interface.functions {
        add(name, "", &function.docs);
    }
    for (name, ty) in &interface.types {
        let def = &resolve.types[*ty];
        add(name, "", &def.docs);
        match &def.kind {
            TypeDefKind::Record(record) => record.fields.iter().for_each(|f| add(name, &f.name, &f.docs)),
            TypeDefKind::Variant(variant) => variant.cases.iter().for_each(|c| add(name, &c.name, &c.docs)),
            TypeDefKind::Enum(cases) => cases.cases.iter().for_each(|c| add(name, &c.name, &c.docs)),
            TypeDefKind::Flags(flags) => flags.flags.iter().for_each(|f| add(name, &f.name, &f.docs)),
            _ => {}
        }
    }
}
