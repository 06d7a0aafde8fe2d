//! What a plugin publishes, before and after a swap.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::plugins::live::view::Finding;
use crate::runtime::catalog::LiveCatalog;

/// The routes of a plugin with their gRPC methods; a method without a route stands for itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Routes(BTreeMap<String, String>);

impl Routes {
    /// Those that the host has now.
    pub(super) fn of(catalog: &LiveCatalog, id: &str) -> Self {
        let catalog = catalog.load_full();
        let Some(plugin) = catalog.plugins().iter().find(|plugin| &*plugin.id == id) else { return Self::default() };
        let mut all = BTreeMap::new();
        for route in &plugin.routes {
            all.insert(format!("{:6} {}", route.verb.as_str(), route.template), route.method.grpc_path.to_string());
        }
        for method in plugin.services.iter().flat_map(|service| &service.methods) {
            if !all.values().any(|grpc| **grpc == *method.grpc_path) {
                all.insert("(no route)".to_owned() + &method.grpc_path, method.grpc_path.to_string());
            }
        }
        Self(all)
    }

    /// What has changed since `before`, one line each; empty where nothing has. `findings` are what clients notice.
    pub(super) fn since(&self, before: &Self, findings: &[Finding]) -> String {
        let mut out = String::new();
        let width = self.0.keys().chain(before.0.keys()).map(String::len).max().unwrap_or(0);
        let mut line = |mark: char, route: &str, grpc: &str| {
            let route = route.strip_suffix(grpc).unwrap_or(route);
            let _ = writeln!(out, "  {mark} {route:width$}  gRPC {}", grpc.trim_start_matches('/'));
        };
        for (route, grpc) in &before.0 {
            if !self.0.contains_key(route) {
                line('-', route, grpc);
            }
        }
        for (route, grpc) in &self.0 {
            match before.0.get(route) {
                None => line('+', route, grpc),
                Some(old) if old != grpc => line('~', route, grpc),
                Some(_) => {}
            }
        }
        for finding in findings {
            let breaks = if finding.breaking { "  (breaks clients)" } else { "" };
            let _ = writeln!(out, "  ~ {}: {}{breaks}", finding.path, finding.message);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(list: &[(&str, &str)]) -> Routes {
        Routes(list.iter().map(|(route, grpc)| ((*route).to_owned(), (*grpc).to_owned())).collect())
    }

    #[test]
    fn only_what_has_changed_is_told() {
        let before =
            routes(&[("GET    /a", "/x.v1.A/Get"), ("POST   /a", "/x.v1.A/Add"), ("PUT    /a", "/x.v1.A/Put")]);
        let after =
            routes(&[("GET    /a", "/x.v1.A/Get"), ("POST   /a", "/x.v1.A/Make"), ("GET    /b/{id}", "/x.v1.A/One")]);
        let finding =
            Finding { breaking: true, protocols: vec![], path: "x.v1.A.Put".into(), message: "is gone".into() };
        assert_eq!(
            after.since(&before, &[finding]),
            "  - PUT    /a       gRPC x.v1.A/Put\n  + GET    /b/{id}  gRPC x.v1.A/One\n  ~ POST   /a       gRPC x.v1.A/Make\n  \
             ~ x.v1.A.Put: is gone  (breaks clients)\n"
        );
        assert_eq!(after.since(&after, &[]), "");
    }
}
