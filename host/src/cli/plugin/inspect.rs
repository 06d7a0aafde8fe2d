//! Looks at a file from the outside in, and goes on as far as it can where something is wrong.

use arcana_signing::envelope::{self, COMPONENT_HEADER, Envelope, MANIFEST_SECTION};
use arcana_signing::trust::{KeyStatus, SignerRole};
use arcana_signing::{Code, Purpose, TrustPolicy};

use super::report::{
    ExportReport, FunctionReport, ImportReport, MethodReport, PluginReport, Problem, Report, SignatureReport,
    TrustReport,
};
use crate::capabilities::missing_grant;
use crate::config::{ByteSize, HumanDuration};
use crate::contract::Contract;
use crate::plugins::manifest::{Instances, Manifest, Method, RateBy, RateRule, SettingRule};
use crate::plugins::pack;
use crate::plugins::prepass::{self, PrepassLimits};
use crate::plugins::surface::surface;
use crate::plugins::verify::verify;

/// Finds out all that can be found out about a file.
pub(super) fn inspect(name: &str, bytes: &[u8], trust: Option<&TrustPolicy>) -> Report {
    let mut report = Report::new(name, bytes.len());
    let body = match envelope::parse(bytes) {
        Ok(envelope) => {
            report.digest = Some(envelope.digest().to_string());
            report.signatures = signatures(&envelope, trust, &mut report.problems);
            if let Err(error) = envelope.check_body() {
                report.problem(error.code(), &error);
            }
            Some(envelope.body())
        }
        Err(error) => {
            report.problem(error.code(), &error);
            // An unsigned file has no less to show than a signed one.
            bytes.strip_prefix(&COMPONENT_HEADER).filter(|_| error.kind() == Code::Unsigned)
        }
    };
    let manifest = body.and_then(|body| manifest(body, &mut report));
    if let Some(body) = body {
        component(bytes, body, manifest.as_ref(), &mut report);
    }
    if let Some(trust) = trust {
        report.trust = Some(match verify(bytes.to_vec(), trust, Purpose::Install, &PrepassLimits::default()) {
            Ok(verified) => TrustReport {
                accepted: true,
                code: None,
                message: format!(
                    "accepted on the word of {}, with every capability granted",
                    verified.signers.join(", ")
                ),
                warnings: verified.warnings,
            },
            Err(refusal) => TrustReport {
                accepted: false,
                code: Some(refusal.code),
                message: refusal.message,
                warnings: Vec::new(),
            },
        });
    }
    report
}

fn signatures(
    envelope: &Envelope<'_>,
    trust: Option<&TrustPolicy>,
    problems: &mut Vec<Problem>,
) -> Vec<SignatureReport> {
    let digest = envelope.digest();
    let one = |signature: &envelope::Signature| {
        let key = trust.and_then(|trust| trust.key(signature.key_id));
        let valid = key.map(|key| key.key.verify(&digest, &signature.bytes));
        if let Some(Err(error)) = &valid {
            problems.push(Problem { code: error.code(), message: error.to_string() });
        }
        SignatureReport {
            key_id: signature.key_id.to_string(),
            known: trust.map(|_| key.is_some()),
            principal: key.map(|key| key.principal.clone()),
            role: key.map(|key| match key.role {
                SignerRole::Publisher => "publisher",
                SignerRole::Reviewer => "reviewer",
            }),
            status: key.map(|key| match key.status {
                KeyStatus::Active => "active",
                KeyStatus::Retired => "retired",
                KeyStatus::Revoked => "revoked",
            }),
            valid: valid.map(|valid| valid.is_ok()),
        }
    };
    envelope.signatures().iter().map(one).collect()
}

fn manifest(body: &[u8], report: &mut Report) -> Option<Manifest> {
    let sections = match envelope::custom_sections(body) {
        Ok(sections) => sections,
        Err(error) => {
            report.problem(error.code(), error);
            return None;
        }
    };
    let Some(section) = sections.iter().find(|section| section.name == MANIFEST_SECTION.as_bytes()) else {
        report.problem(Code::Manifest.as_str(), "the file carries no manifest: pack it with `arcana plugin pack`");
        return None;
    };
    let parsed = std::str::from_utf8(section.payload).map_err(|error| error.to_string());
    let manifest = match parsed.and_then(|text| Manifest::parse(text).map_err(|error| error.to_string())) {
        Ok(manifest) => manifest,
        Err(error) => {
            report.problem("MANIFEST_INVALID", error);
            return None;
        }
    };
    let plugin = &manifest.plugin;
    report.plugin = Some(PluginReport {
        id: plugin.id.to_string(),
        version: plugin.version.to_string(),
        seq: plugin.seq,
        description: plugin.description.clone(),
        host: plugin.host.to_string(),
        expires: plugin.expires.map(|time| time.to_string()),
    });
    report.capabilities = manifest.capability_names();
    report.methods = manifest.methods.iter().map(method).collect();
    report.settings = manifest.settings.iter().flatten().map(setting).collect();
    report.limits = limits(&manifest);
    Some(manifest)
}

fn component(bytes: &[u8], body: &[u8], manifest: Option<&Manifest>, report: &mut Report) {
    let limits = PrepassLimits::default();
    if let Err(error) = prepass::check(bytes, &limits) {
        report.problem(error.code(), &error);
        // What is refused before it is compiled is not decoded either.
        return;
    }
    let packed = match pack::sections(body, &limits) {
        Ok(packed) => packed,
        Err(error) => {
            report.problem("SECTION_INVALID", error);
            pack::PackedSections::default()
        }
    };
    report.stores = packed.stores().collect();
    if let Some(manifest) = manifest {
        let undeclared = report.stores.iter().filter(|migrated| !manifest.stores.contains_key(&migrated.store));
        let undeclared: Vec<String> = undeclared.map(|migrated| format!("{:?}", migrated.store)).collect();
        for store in undeclared {
            let message = format!("it has migrations for {store}, which the manifest does not declare in `[stores]`");
            report.problem(Code::Store.as_str(), message);
        }
    }
    let contract = match Contract::decode(bytes, packed.wit.iter().map(Vec::as_slice)) {
        Ok(contract) => contract,
        Err(error) => {
            report.problem("CONTRACT", error);
            let Ok(undocumented) = Contract::decode(bytes, []) else { return };
            undocumented
        }
    };
    report.documented = packed.wit.iter().filter_map(|wit| package_name(wit)).collect();
    let state = |name: &str| match manifest {
        _ if !name.starts_with("arcana:host/") && missing_grant(name, |_| true).is_none() => {
            "always there, gives nothing"
        }
        Some(manifest) if missing_grant(name, |name| manifest.asks_for(name)).is_some() => {
            "not asked for in the manifest"
        }
        _ if missing_grant(name, |_| false).is_none() => "always there",
        Some(_) => "asked for in the manifest",
        None => "needs a grant",
    };
    report.imports = contract
        .imports
        .iter()
        .map(|import| ImportReport {
            name: import.name.clone(),
            functions: import.functions.clone(),
            state: if import.functions.is_empty() { "only types" } else { state(&import.name) },
        })
        .collect();
    report.exports = exports(&contract, manifest);
    if let Some(manifest) = manifest {
        report.problems.extend(contract_problems(manifest, &contract));
    }
}

fn exports(contract: &Contract, manifest: Option<&Manifest>) -> Vec<ExportReport> {
    let published = |interface: &str, function: &str| {
        manifest.is_some_and(|manifest| {
            let found = |method: &Method| {
                contract
                    .publish(&method.call)
                    .is_ok_and(|(found, plan)| found.full_name == interface && plan.name == function)
            };
            manifest.methods.iter().any(found)
        })
    };
    let function = |interface: &str, name: &str, params: Vec<String>| FunctionReport {
        name: name.to_owned(),
        params,
        published: published(interface, name),
    };
    contract
        .interfaces
        .iter()
        .map(|interface| ExportReport {
            name: interface.full_name.clone(),
            functions: interface
                .functions
                .iter()
                .map(|(name, plan)| {
                    let params = plan.as_ref().map(|plan| plan.params.iter().map(|field| field.name.clone()).collect());
                    function(&interface.full_name, name, params.unwrap_or_default())
                })
                .collect(),
        })
        .collect()
}

/// Where the manifest and the component do not fit together.
pub(super) fn contract_problems(manifest: &Manifest, contract: &Contract) -> Vec<Problem> {
    let imports = contract.imports.iter().filter(|import| !import.functions.is_empty());
    let missing = imports
        .filter_map(|import| missing_grant(&import.name, |name| manifest.asks_for(name)))
        .map(|message| Problem { code: "IMPORT_NOT_GRANTED", message });
    let misfits = &contract.misfits;
    let misfits = (misfits.imports.iter().map(|text| ("LINK_FAILED", text)))
        .chain(misfits.exports.iter().map(|text| ("CONTRACT", text)))
        .map(|(code, text)| Problem { code, message: text.clone() });
    let methods = manifest.methods.iter().filter_map(|method| {
        let error = contract.publish(&method.call).err()?;
        Some(Problem { code: "CONTRACT", message: error.to_string() })
    });
    let mut problems: Vec<Problem> = missing.chain(misfits).chain(methods).collect();
    // What is wrong with a method is told already.
    if problems.is_empty() {
        let files = surface(manifest, contract).and_then(|surface| surface.files());
        problems.extend(files.err().map(|error| Problem { code: "CONTRACT", message: error.to_string() }));
    }
    problems
}

fn package_name(wit: &[u8]) -> Option<String> {
    match wit_component::decode(wit).ok()? {
        wit_component::DecodedWasm::WitPackage(resolve, package) => Some(resolve.packages[package].name.to_string()),
        wit_component::DecodedWasm::Component(..) => None,
    }
}

fn method(method: &Method) -> MethodReport {
    let mut limits = Vec::new();
    if let Some(concurrency) = method.concurrency {
        limits.push(format!("{concurrency} at once"));
    }
    if let Some(timeout) = method.call_timeout {
        limits.push(format!("at most {}", time(timeout)));
    }
    limits.extend(method.rate.iter().map(rate));
    MethodReport {
        call: method.call.clone(),
        routes: method.http.iter().map(ToString::to_string).collect(),
        allow: method.allow.iter().map(ToString::to_string).collect(),
        status: method.status,
        limits,
    }
}

fn rate(rule: &RateRule) -> String {
    let by = match &rule.by {
        RateBy::Address => "address".to_owned(),
        RateBy::Fields(names) => names.join(" or "),
    };
    format!("{}/min (burst {}) by {by}", rule.per_minute, rule.burst)
}

fn limits(manifest: &Manifest) -> Vec<(&'static str, String)> {
    let limits = &manifest.limits;
    let default = || "the host's default".to_owned();
    vec![
        ("memory", limits.memory.map_or_else(default, |bytes| ByteSize::new(bytes).to_string())),
        ("call time", limits.call_timeout.map_or_else(default, time)),
        ("concurrency", limits.concurrency.map_or_else(default, |count| count.to_string())),
        (
            "instances",
            match limits.instances {
                Instances::Reuse => "reused".to_owned(),
                Instances::PerCall => "one per call".to_owned(),
            },
        ),
        ("calls an instance", limits.max_calls.map_or_else(default, |count| count.to_string())),
    ]
}

fn setting((name, rule): (&String, &SettingRule)) -> (String, String) {
    let mut text = rule.kind.to_string();
    for (holds, word) in [(rule.required, ", required"), (rule.secret, ", secret")] {
        text.push_str(if holds { word } else { "" });
    }
    if !rule.description.is_empty() {
        text.push_str(": ");
        text.push_str(&rule.description);
    }
    (name.clone(), text)
}

fn time(span: std::time::Duration) -> String {
    HumanDuration::from_millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)).to_string()
}
