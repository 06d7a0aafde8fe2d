//! What `inspect` has to say, also as JSON.

use serde::Serialize;

use crate::plugins::pack::StoreMigrations;

/// All that is known of a file. What could not be found out is absent, and `problems` says why.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) file: String,
    pub(super) bytes: usize,
    /// h, where the file claims one.
    pub(super) digest: Option<String>,
    pub(super) signatures: Vec<SignatureReport>,
    /// What a host with the given trust policy would answer.
    pub(super) trust: Option<TrustReport>,
    pub(super) plugin: Option<PluginReport>,
    pub(super) capabilities: Vec<String>,
    pub(super) imports: Vec<ImportReport>,
    pub(super) exports: Vec<ExportReport>,
    pub(super) methods: Vec<MethodReport>,
    /// The settings that it says it reads, each with what its value is.
    pub(super) settings: Vec<(String, String)>,
    pub(super) limits: Vec<(&'static str, String)>,
    /// The stores that it has migrations for.
    pub(super) stores: Vec<StoreMigrations>,
    /// The WIT packages whose docs are packed.
    pub(super) documented: Vec<String>,
    pub(super) problems: Vec<Problem>,
}

#[derive(Debug, Serialize)]
pub(super) struct SignatureReport {
    pub(super) key_id: String,
    /// Whether the trust policy has the key; absent without one.
    pub(super) known: Option<bool>,
    pub(super) principal: Option<String>,
    pub(super) role: Option<&'static str>,
    pub(super) status: Option<&'static str>,
    /// Whether the key made the signature over the claimed digest; absent where the key is not known.
    pub(super) valid: Option<bool>,
}

#[derive(Debug, Serialize)]
pub(super) struct TrustReport {
    pub(super) accepted: bool,
    pub(super) code: Option<&'static str>,
    pub(super) message: String,
    pub(super) warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct PluginReport {
    pub(super) id: String,
    pub(super) version: String,
    pub(super) seq: u64,
    pub(super) description: String,
    pub(super) host: String,
    pub(super) expires: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct ImportReport {
    pub(super) name: String,
    pub(super) functions: Vec<String>,
    /// Why it is there: asked for, always there, or missing from the manifest.
    pub(super) state: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct ExportReport {
    pub(super) name: String,
    pub(super) functions: Vec<FunctionReport>,
}

#[derive(Debug, Serialize)]
pub(super) struct FunctionReport {
    pub(super) name: String,
    pub(super) params: Vec<String>,
    pub(super) published: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct MethodReport {
    pub(super) call: String,
    pub(super) routes: Vec<String>,
    pub(super) allow: Vec<String>,
    pub(super) status: Option<u16>,
    /// Its own limits, in words.
    pub(super) limits: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Report {
    pub(super) fn new(file: &str, bytes: usize) -> Self {
        Self {
            file: file.to_owned(),
            bytes,
            digest: None,
            signatures: Vec::new(),
            trust: None,
            plugin: None,
            capabilities: Vec::new(),
            imports: Vec::new(),
            exports: Vec::new(),
            methods: Vec::new(),
            settings: Vec::new(),
            limits: Vec::new(),
            stores: Vec::new(),
            documented: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Each problem once, however many checks find it.
    pub(super) fn problem(&mut self, code: &'static str, message: impl ToString) {
        let problem = Problem { code, message: message.to_string() };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}
