//! `plugin.toml` as TOML has it, and the way from there to a [`Manifest`].

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use jiff::Timestamp;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::check::{self, Mistakes};
use super::settings::{self, SettingTable};
use super::{
    Capabilities, CryptoGrant, Instances, Limits, Manifest, ManifestError, Method, OwnedStore, Plugin, RateBy, RateRule,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    plugin: PluginTable,
    #[serde(default)]
    capabilities: CapabilitiesTable,
    #[serde(default)]
    stores: BTreeMap<String, StoreTable>,
    #[serde(default)]
    settings: Option<BTreeMap<String, SettingTable>>,
    #[serde(default)]
    methods: Vec<MethodTable>,
    #[serde(default)]
    limits: LimitsTable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PluginTable {
    id: String,
    version: String,
    seq: Spanned<u64>,
    #[serde(default)]
    description: String,
    host: String,
    #[serde(default, deserialize_with = "arcana_signing::timestamp::optional")]
    expires: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CapabilitiesTable {
    #[serde(default)]
    stores: Vec<String>,
    #[serde(default)]
    cache: bool,
    #[serde(default)]
    crypto: Crypto,
    #[serde(default)]
    events: Option<EventsTable>,
    #[serde(default)]
    http: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsTable {
    #[serde(default)]
    publish: Vec<String>,
    #[serde(default)]
    subscribe: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CryptoTable {
    #[serde(default)]
    hash: bool,
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    issue_tokens: bool,
    #[serde(default)]
    verify_tokens: bool,
    #[serde(default)]
    revoke_tokens: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreTable {
    owner: bool,
    migrations: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MethodTable {
    call: String,
    #[serde(default)]
    http: Texts,
    allow: Texts,
    #[serde(default)]
    status: Option<u16>,
    #[serde(default)]
    concurrency: Option<u32>,
    #[serde(default)]
    call_timeout: Option<String>,
    #[serde(default)]
    rate: Vec<RateTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RateTable {
    by: Texts,
    per_minute: u32,
    #[serde(default)]
    burst: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsTable {
    #[serde(default)]
    memory: Option<String>,
    #[serde(default)]
    call_timeout: Option<String>,
    #[serde(default)]
    concurrency: Option<u32>,
    #[serde(default)]
    instances: InstancesName,
    #[serde(default)]
    max_calls: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum InstancesName {
    #[default]
    Reuse,
    PerCall,
}

/// A text, or a list of texts; keeps which it was.
#[derive(Default)]
struct Texts {
    values: Vec<String>,
    single: bool,
}

/// `true`, `false`, or a table.
#[derive(Default)]
struct Crypto(Option<CryptoGrant>);

/// Reads either form without serde's `untagged`, whose errors no longer say which key was unknown.
struct Either<T>(&'static str, PhantomData<T>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either::<Self>("a text or a list of texts", PhantomData))
    }
}

impl<'de> Visitor<'de> for Either<Texts> {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Texts, E> {
        Ok(Texts { values: vec![text.to_owned()], single: true })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Texts, A::Error> {
        Ok(Texts { values: Vec::deserialize(SeqAccessDeserializer::new(list))?, single: false })
    }
}

impl<'de> Deserialize<'de> for Crypto {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either::<Self>("true, false or a table", PhantomData))
    }
}

impl<'de> Visitor<'de> for Either<Crypto> {
    type Value = Crypto;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_bool<E>(self, asked: bool) -> Result<Crypto, E> {
        Ok(Crypto(asked.then(CryptoGrant::default)))
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Crypto, A::Error> {
        let CryptoTable { hash, keys, issue_tokens, verify_tokens, revoke_tokens } =
            CryptoTable::deserialize(MapAccessDeserializer::new(table))?;
        Ok(Crypto(Some(CryptoGrant { hash, keys, issue_tokens, verify_tokens, revoke_tokens })))
    }
}

/// The same text with another sequence number: nothing else of it changes.
///
/// # Errors
/// Where the text is no manifest in its form.
pub fn with_seq(text: &str, seq: u64) -> Result<String, ManifestError> {
    check::seq(seq).map_err(|what| ManifestError { mistakes: vec![format!("plugin.seq: {what}")] })?;
    let span = read(text)?.plugin.seq.span();
    let mut changed = text.to_owned();
    changed.replace_range(span, &seq.to_string());
    Ok(changed)
}

fn read(text: &str) -> Result<File, ManifestError> {
    if text.len() > check::MAX_TEXT {
        let message = format!("the manifest has {} bytes, of at most {}", text.len(), check::MAX_TEXT);
        return Err(ManifestError { mistakes: vec![message] });
    }
    toml::from_str(text).map_err(|error| ManifestError { mistakes: vec![error.to_string().trim_end().to_owned()] })
}

pub(super) fn parse(text: &str) -> Result<Manifest, ManifestError> {
    let File { plugin, capabilities, stores, settings, methods, limits } = read(text)?;
    let mut mistakes = Mistakes::default();
    let plugin = convert_plugin(plugin, &mut mistakes);
    let capabilities = convert_capabilities(capabilities, &mut mistakes);
    let stores = convert_stores(stores, &capabilities, &mut mistakes);
    let settings = settings.map(|tables| settings::convert(tables, &mut mistakes));
    let few = check::at_most("methods", methods.len(), check::MAX_METHODS, &mut mistakes);
    let routes = methods.iter().map(|method| method.http.values.len()).sum();
    // The comparison of all with all below is only for so many as there may be.
    if !check::at_most("methods.http", routes, check::MAX_ROUTES, &mut mistakes) || !few {
        return Err(ManifestError { mistakes: mistakes.0 });
    }
    let methods: Vec<Method> = methods
        .into_iter()
        .enumerate()
        .filter_map(|(index, table)| convert_method(index, table, &mut mistakes))
        .collect();
    let limits = convert_limits(&limits, &mut mistakes);
    check::no_duplicates(&methods, &mut mistakes);
    match (plugin, mistakes.0.is_empty()) {
        (Some(plugin), true) => Ok(Manifest { plugin, capabilities, stores, settings, methods, limits }),
        _ => Err(ManifestError { mistakes: mistakes.0 }),
    }
}

fn convert_plugin(table: PluginTable, mistakes: &mut Mistakes) -> Option<Plugin> {
    let id = mistakes.keep("plugin.id", super::PluginId::parse(&table.id));
    let version = mistakes.keep(
        "plugin.version",
        table.version.parse().map_err(|error| format!("`{}` is no version such as `1.2.0`: {error}", table.version)),
    );
    let host = mistakes.keep(
        "plugin.host",
        table.host.parse().map_err(|error| format!("`{}` is no host version such as `0.1`: {error}", table.host)),
    );
    let seq = table.seq.into_inner();
    mistakes.keep("plugin.seq", check::seq(seq));
    mistakes.keep("plugin.version", check::length(&table.version, check::MAX_VERSION));
    mistakes.keep("plugin.description", check::length(&table.description, check::MAX_DESCRIPTION));
    Some(Plugin {
        id: id?,
        version: version?,
        seq,
        description: table.description,
        host: host?,
        expires: table.expires,
    })
}

fn convert_capabilities(table: CapabilitiesTable, mistakes: &mut Mistakes) -> Capabilities {
    let CapabilitiesTable { stores, cache, crypto: Crypto(crypto), events, http } = table;
    check::names(&stores, "capabilities.stores", mistakes);
    if let Some(crypto) = &crypto {
        check::names(&crypto.keys, "capabilities.crypto.keys", mistakes);
    }
    if events.is_some_and(|events| !events.publish.is_empty() || !events.subscribe.is_empty()) {
        mistakes.add("capabilities.events", "this host has no events, so a plugin cannot ask for them");
    }
    if !http.is_empty() {
        mistakes.add(
            "capabilities.http",
            "this host makes no outgoing requests for plugins, so a plugin cannot ask for them",
        );
    }
    Capabilities { stores, cache, crypto }
}

fn convert_stores(
    tables: BTreeMap<String, StoreTable>,
    capabilities: &Capabilities,
    mistakes: &mut Mistakes,
) -> BTreeMap<String, OwnedStore> {
    let mut stores = BTreeMap::new();
    for (name, table) in tables {
        let at = format!("stores.{name}");
        if !capabilities.stores.contains(&name) {
            mistakes.add(&at, format!("`{name}` is not in capabilities.stores"));
        }
        if !table.owner {
            mistakes.add(&format!("{at}.owner"), "must be true: only the owner of a store migrates it");
        }
        if table.migrations.is_empty() {
            mistakes.add(&format!("{at}.migrations"), "must name a folder");
        }
        stores.insert(name, OwnedStore { migrations: table.migrations });
    }
    stores
}

fn convert_method(index: usize, table: MethodTable, mistakes: &mut Mistakes) -> Option<Method> {
    let at = format!("methods[{index}]");
    let before = mistakes.0.len();
    let key = |name: &str| format!("{at}.{name}");
    mistakes.keep(&key("call"), check::call(&table.call));
    let entry = |name: &str, texts: &Texts, index: usize| {
        if texts.single { key(name) } else { format!("{at}.{name}[{index}]") }
    };
    let mut http = Vec::with_capacity(table.http.values.len());
    for (index, text) in table.http.values.iter().enumerate() {
        http.extend(mistakes.keep(&entry("http", &table.http, index), check::route(text)));
    }
    let mut allow = Vec::with_capacity(table.allow.values.len());
    for (index, text) in table.allow.values.iter().enumerate() {
        allow.extend(mistakes.keep(&entry("allow", &table.allow, index), check::allow(text)));
    }
    mistakes.keep(&key("allow"), check::allow_list(&allow, table.allow.values.is_empty()));
    if let Some(status) = table.status.filter(|status| !(200..300).contains(status)) {
        mistakes.add(&key("status"), format!("{status} is no status of a success: 200 to 299"));
    }
    let concurrency = mistakes.keep(&key("concurrency"), check::positive(table.concurrency)).flatten();
    let call_timeout = mistakes.keep(&key("call_timeout"), check::duration(table.call_timeout.as_deref())).flatten();
    check::at_most(&key("allow"), table.allow.values.len(), check::MAX_LIST, mistakes);
    check::at_most(&key("rate"), table.rate.len(), check::MAX_LIST, mistakes);
    let mut rate = Vec::with_capacity(table.rate.len());
    for (index, table) in table.rate.into_iter().enumerate() {
        rate.extend(convert_rate(&format!("{at}.rate[{index}]"), table, mistakes));
    }
    (mistakes.0.len() == before).then_some(Method {
        call: table.call,
        http,
        allow,
        status: table.status,
        concurrency,
        call_timeout,
        rate,
    })
}

fn convert_rate(at: &str, table: RateTable, mistakes: &mut Mistakes) -> Option<RateRule> {
    let by = match table.by {
        Texts { values, single: true } if values.iter().all(|by| by == "address") => Some(RateBy::Address),
        Texts { single: true, .. } => None,
        Texts { values, single: false } => {
            (!values.is_empty() && values.iter().all(|name| check::is_param(name))).then_some(RateBy::Fields(values))
        }
    };
    if by.is_none() {
        mistakes.add(&format!("{at}.by"), "must be \"address\" or a list of names of input fields");
    }
    let per_minute = mistakes.keep(&format!("{at}.per_minute"), check::positive(Some(table.per_minute)));
    let burst = mistakes.keep(&format!("{at}.burst"), check::positive(table.burst))?;
    let per_minute = per_minute.flatten()?;
    Some(RateRule { by: by?, per_minute, burst: burst.unwrap_or(per_minute) })
}

fn convert_limits(table: &LimitsTable, mistakes: &mut Mistakes) -> Limits {
    Limits {
        memory: mistakes.keep("limits.memory", check::memory(table.memory.as_deref())).flatten(),
        call_timeout: mistakes.keep("limits.call_timeout", check::duration(table.call_timeout.as_deref())).flatten(),
        concurrency: mistakes.keep("limits.concurrency", check::positive(table.concurrency)).flatten(),
        instances: match table.instances {
            InstancesName::Reuse => Instances::Reuse,
            InstancesName::PerCall => Instances::PerCall,
        },
        max_calls: mistakes.keep("limits.max_calls", check::positive(table.max_calls)).flatten(),
    }
}
