//! Whether what a component imports is what the host offers, and how far the extension points that it exports are those
//! that the host calls: told with both sides, as WIT.

use std::sync::LazyLock;

use semver::Version;
use wit_parser::{Function, FunctionKind, InterfaceId, PackageId, Resolve, SourceMap, WorldId, WorldItem, WorldKey};

use super::compare;
use super::error::ContractError;
use super::planner::spell;

/// How much alike two names must be for one to be taken for a slip of the other.
const ALIKE: f64 = 0.75;

/// So many functions of an interface are told at most.
const MOST_TOLD: usize = 8;

/// What the host links, and what it calls.
static OFFERED: LazyLock<Result<Vec<Offered>, ContractError>> = LazyLock::new(|| {
    let host = [
        ("database.wit", include_str!("../../../wit/host/database.wit")),
        ("cache.wit", include_str!("../../../wit/host/cache.wit")),
        ("context.wit", include_str!("../../../wit/host/context.wit")),
        ("crypto.wit", include_str!("../../../wit/host/crypto.wit")),
    ];
    let plugin = [("plugin.wit", include_str!("../../../wit/plugin/plugin.wit"))];
    Ok(vec![Offered::parse(&host)?, Offered::parse(&plugin)?])
});

/// Where a component and this host do not fit; each entry is a text of some lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Misfits {
    /// What it imports of the host.
    pub imports: Vec<String>,
    /// What it exports for the host to call.
    pub exports: Vec<String>,
}

struct Offered {
    resolve: Resolve,
    package: PackageId,
}

/// The name most like this one, where one is like it.
#[must_use]
pub fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(alike, _)| *alike >= ALIKE)
        // The first of those that are equally alike.
        .reduce(|best, other| if other.0 > best.0 { other } else { best })
        .map(|(_, known)| known)
}

/// Compares a component with this host.
///
/// # Errors
/// [`ContractError::UnreadableWit`] where the host's own WIT cannot be read, which a test rules out.
pub(super) fn misfits(component: &Resolve, world: WorldId) -> Result<Misfits, ContractError> {
    let offered = OFFERED.as_ref().map_err(Clone::clone)?;
    let world = &component.worlds[world];
    let look = |items: &mut dyn Iterator<Item = (&WorldKey, &WorldItem)>, verb| {
        items
            .filter_map(|(_, item)| match item {
                WorldItem::Interface { id, .. } => Some(*id),
                WorldItem::Function(_) | WorldItem::Type { .. } => None,
            })
            .filter_map(|id| Wanted { verb, component, id }.misfit(offered))
            .collect()
    };
    Ok(Misfits {
        imports: look(&mut world.imports.iter(), "imports"),
        exports: look(&mut world.exports.iter(), "exports"),
    })
}

impl Offered {
    fn parse(files: &[(&str, &str)]) -> Result<Self, ContractError> {
        let unreadable = |error: &dyn std::fmt::Display| ContractError::UnreadableWit(format!("{error:#}"));
        let mut map = SourceMap::new();
        for (name, text) in files {
            map.push_str(name, *text);
        }
        let group = map.parse().map_err(|(_, error)| unreadable(&error))?;
        let mut resolve = Resolve::default();
        let package = resolve.push_group(group).map_err(|error| unreadable(&error))?;
        Ok(Self { resolve, package })
    }
}

/// An interface of the component.
struct Wanted<'a> {
    /// "imports" or "exports".
    verb: &'static str,
    component: &'a Resolve,
    id: InterfaceId,
}

impl Wanted<'_> {
    /// Why it does not fit; none where it does, or is of a package that is none of the host's.
    fn misfit(&self, offered: &[Offered]) -> Option<String> {
        let interface = &self.component.interfaces[self.id];
        let (name, package) = (interface.name.as_deref()?, interface.package?);
        let package = &self.component.packages[package].name;
        let Offered { resolve, package: ours } = offered.iter().find(|offered| {
            let name = &offered.resolve.packages[offered.package].name;
            (&name.namespace, &name.name) == (&package.namespace, &package.name)
        })?;
        // What only brings types is not linked.
        if interface.functions.is_empty() {
            return None;
        }
        let full = self.component.id_of(self.id)?;
        let verb = self.verb;
        let Some(our) = resolve.packages[*ours].interfaces.get(name) else {
            let names = resolve.packages[*ours].interfaces.keys().map(String::as_str);
            let near = nearest(name, names.clone()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            let names = names.collect::<Vec<_>>().join(", ");
            let package = &resolve.packages[*ours].name;
            return Some(format!("it {verb} `{full}`, which this host does not have{near}\n  {package} has {names}"));
        };
        let our_full = resolve.id_of(*our)?;
        let mut differing = interface.functions.values().filter_map(|function| self.function(function, resolve, *our));
        let mut functions: Vec<String> = differing.by_ref().take(MOST_TOLD).collect();
        let more = differing.count();
        if more > 0 {
            functions.push(format!("  and {more} more"));
        }
        let our_version = resolve.packages[*ours].name.version.as_ref();
        let other_version = !compatible(package.version.as_ref(), our_version);
        let head = match (other_version, functions.is_empty()) {
            (false, true) => return None,
            (false, false) => format!("it {verb} `{our_full}`, and not all of it as this host has it"),
            (true, same) => format!(
                "it {verb} `{full}`; this host has `{our_full}`{}",
                if same { ", where everything it uses is the same: build it against that version" } else { "" }
            ),
        };
        Some(std::iter::once(head).chain(functions).collect::<Vec<_>>().join("\n"))
    }

    fn function(&self, function: &Function, resolve: &Resolve, ours: InterfaceId) -> Option<String> {
        let ours = &resolve.interfaces[ours];
        let name = shown_name(self.component, function);
        let (wants, has) = match self.verb {
            "imports" => ("it wants", "the host has"),
            _ => ("it has", "the host calls"),
        };
        let wanted = signature(self.component, function);
        let Some(our) = ours.functions.get(&function.name) else {
            let names: Vec<String> = ours.functions.values().map(|known| shown_name(resolve, known)).collect();
            let near = nearest(&name, names.iter().map(String::as_str));
            // Among methods the resource is the same anyway; the nearest of all is shown with its type.
            let near = near.and_then(|near| ours.functions.values().find(|known| shown_name(resolve, known) == near));
            let near = match near {
                Some(near) => format!("; did you mean this one?\n    {}", signature(resolve, near)),
                None => format!(", but only {}", names.join(", ")),
            };
            return Some(format!("  `{name}`:\n    {wants} {wanted}\n    {has} no such function{near}"));
        };
        let differs = compare::functions(self.component, function, resolve, our).err()?;
        let offered = signature(resolve, our);
        // Both read alike where a type that is named in them differs.
        let more = match differs {
            ContractError::WitDiffers { place, component, wit } if wanted == offered => {
                format!("\n    {place}: {wants} {component}, {has} {wit}")
            }
            _ => String::new(),
        };
        Some(format!("  `{name}`:\n    {wants} {wanted}\n    {has} {offered}{more}"))
    }
}

/// Whether a component made for one version can be linked with another: as in semver, below 1.0 by the minor version.
fn compatible(wanted: Option<&Version>, offered: Option<&Version>) -> bool {
    match (wanted, offered) {
        (Some(wanted), Some(offered)) => {
            let track = |version| wit_parser::PackageName::version_compat_track(version).0;
            wanted == offered || track(wanted) == track(offered)
        }
        (wanted, offered) => wanted == offered,
    }
}

/// `get`, or `transaction.query` for a method of a resource.
fn shown_name(resolve: &Resolve, function: &Function) -> String {
    match function.kind.resource().and_then(|id| resolve.types[id].name.as_deref()) {
        Some(resource) if matches!(function.kind, FunctionKind::Constructor(_)) => format!("{resource}.constructor"),
        Some(resource) => format!("{resource}.{}", function.item_name()),
        None => function.name.clone(),
    }
}

/// A function as WIT has it, such as `get: func(key: string) -> option<string>`; a method without its resource.
fn signature(resolve: &Resolve, function: &Function) -> String {
    use FunctionKind as K;
    let name = shown_name(resolve, function);
    let hidden = usize::from(matches!(function.kind, K::Method(_) | K::AsyncMethod(_)));
    let params: Vec<String> = function
        .params
        .iter()
        .skip(hidden)
        .map(|param| format!("{}: {}", param.name, spell(resolve, &param.ty)))
        .collect();
    let kind = match function.kind {
        K::Static(_) => "static func",
        K::AsyncStatic(_) => "static async func",
        K::AsyncFreestanding | K::AsyncMethod(_) => "async func",
        _ => "func",
    };
    let result = match (&function.result, &function.kind) {
        (Some(ty), kind) if !matches!(kind, K::Constructor(_)) => format!(" -> {}", spell(resolve, ty)),
        _ => String::new(),
    };
    format!("{name}: {kind}({}){result}", params.join(", "))
}
