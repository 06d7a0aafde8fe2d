use std::ffi::OsString;
use std::fs;

use super::*;

fn load(files: &[(&str, &str)], env: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let env = env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Config::load(dir.path(), env).map_err(|errors| {
        let prefix = format!("{}/", dir.path().display());
        errors.0.iter().map(|error| error.to_string().replace(&prefix, "")).collect()
    })
}

/// The structs have no optional fields and deny unknown ones, so the two key sets are equal exactly when this loads.
#[test]
fn default_toml_and_the_structs_have_the_same_keys() {
    toml::from_str::<Config>(DEFAULTS).unwrap();
    load(&[], &[]).unwrap();
}

#[test]
fn every_default_is_explained() {
    let mut previous = "";
    for line in DEFAULTS.lines() {
        if line.contains(" = ") && !line.starts_with('#') {
            assert!(previous.starts_with("# "), "no comment above `{line}`");
        }
        previous = line;
    }
}

#[test]
fn later_layers_win_and_show_says_which() {
    let files = [
        ("default.toml", "server.rest.port = 1\n[app]\nenvironment = \"staging\"\n"),
        ("staging.toml", "server.rest.port = 2\nserver.rest.max_body = \"2MiB\"\nlimits.queue = 7\n"),
        ("monolithic.toml", "server.rest.port = 3\nlimits.queue = 8\n"),
        ("local.toml", "[server.rest]\nport = 4\n"),
    ];
    let config = load(&files, &[("ARCANA_SERVER__REST__PORT", "5"), ("ARCANA_WASM_TOOLCHAIN", "distro")]).unwrap();
    assert_eq!(config.server.rest.port, 5);
    assert_eq!(config.server.rest.max_body, ByteSize::new(2 << 20));
    assert_eq!(config.limits.queue, 8);
    let shown = config.show();
    assert!(shown.contains("server.rest.port = 5"), "{shown}");
    assert!(shown.contains("# ARCANA_SERVER__REST__PORT"), "{shown}");
    assert!(shown.contains("monolithic.toml:2"), "{shown}");
    let config = load(&files, &[]).unwrap();
    assert_eq!(config.server.rest.port, 4);
}

#[test]
fn saying_the_default_again_undoes_a_weaker_layer() {
    let files = [("production.toml", "limits.queue = 7\n"), ("local.toml", "limits.queue = 256\n")];
    assert_eq!(load(&files, &[]).unwrap().limits.queue, 256);
}

#[test]
fn what_show_prints_can_be_read_back() {
    let shown = load(&[], &[("ARCANA_SERVER__REST__TRUSTED_PROXIES", "10.0.0.0/8, ::1")]).unwrap().show();
    let again = load(&[("local.toml", &shown)], &[]).unwrap();
    assert_eq!(again.server.rest.trusted_proxies.len(), 2);
}

#[test]
fn every_mistake_is_reported_with_key_and_place() {
    let local = "\
[server.rest]
prot = 1
port = \"x\"
max_body = \"12 parsecs\"
[jobs]
[limits]
memory = \"512MiB\"
epoch_tick = \"2s\"
[observability.tracing]
enabled = true
[deployment]
mode = \"layeredhttp\"
[app]
data_dir.x = 1
[cache]
redis.url = \"redis://\"
max_ttl = 5
[database]
sqlite = 3
[server.rest.cors]
origins = [\"example.com\"]
";
    let env = [
        ("ARCANA_SECURITY__TOKENS__ALGORITHM", "none"),
        ("ARCANA_APP_DATA_DIR", "/x"),
        ("ARCANA_SERVER__REST__COMPRESSION", "maybe"),
        ("ARCANA_SERVER_REST__PORT", "1"),
    ];
    let mut errors = load(&[("local.toml", local)], &env).unwrap_err();
    errors.sort();
    insta_like(
        &errors,
        &[
            "ARCANA_APP_DATA_DIR: app.data_dir: sections and keys are parted by two underscores: ARCANA_APP__DATA_DIR",
            "ARCANA_SECURITY__TOKENS__ALGORITHM: security.tokens.algorithm: unknown variant `none`, expected `EdDSA` or `HS256`",
            "ARCANA_SERVER_REST__PORT: server_rest.port: there is no such key; did you mean `server.rest.port`?",
            "ARCANA_SERVER__REST__COMPRESSION: server.rest.compression: invalid type: string \"maybe\", expected a boolean",
            "local.toml:12: deployment.mode: `layeredhttp` is not available in this version",
            "local.toml:14: app.data_dir: is a value, not a section",
            "local.toml:16: cache.redis: `cache.redis` is not available in this version",
            "local.toml:17: cache.max_ttl: invalid type: integer `5`, expected a string",
            "local.toml:19: database.sqlite: is a section, not a value",
            "local.toml:21: server.rest.cors.origins: `example.com` is no origin, such as \"https://app.example.com\" (no path, no slash at the end)",
            "local.toml:2: server.rest.prot: there is no such key; did you mean `server.rest.port`?",
            "local.toml:3: server.rest.port: invalid type: string \"x\", expected u16",
            "local.toml:4: server.rest.max_body: invalid value: string \"12 parsecs\", expected a size with its unit, such as \"512B\", \"64KiB\" or \"1MiB\"",
            "local.toml:5: jobs: `jobs` is not available in this version",
            "local.toml:7: limits.memory: 512MiB is more than `limits.max_memory`, which is 256MiB",
            "local.toml:8: limits.epoch_tick: must be from 1ms to 1s",
            "local.toml:9: observability.tracing: `observability.tracing` is not available in this version",
        ],
    );
}

fn insta_like(found: &[String], expected: &[&str]) {
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected, "found:\n{}", found.join("\n"));
}

#[test]
fn a_broken_file_is_named_and_hides_no_other_mistake() {
    let errors = load(&[("local.toml", "a = = 1\n[app\nx\n"), ("production.toml", "nothing = 1\n")], &[]).unwrap_err();
    assert!(errors.iter().any(|e| e.starts_with("local.toml:1: ")), "{errors:?}");
    assert!(errors.iter().any(|e| e.starts_with("production.toml:1: nothing: ")), "{errors:?}");
}

#[test]
fn a_file_cannot_choose_itself() {
    let errors = load(&[("production.toml", "app.environment = \"x\"\n")], &[]).unwrap_err();
    assert_eq!(errors, ["production.toml:1: app.environment: cannot be set in a file that was chosen by it"]);
    let errors = load(&[], &[("ARCANA_APP__ENVIRONMENT", "../x")]).unwrap_err();
    assert_eq!(errors, ["ARCANA_APP__ENVIRONMENT: app.environment: must be lower-case letters, digits, `-` and `_`"]);
}

#[test]
fn rules_over_values_name_what_they_compare() {
    let text = "[limits]\nmemory = \"2GiB\"\nmax_memory = 5\n[observability.log]\nfilter = \"arcana=loud\"\n";
    let errors = load(&[("local.toml", text)], &[]).unwrap_err();
    // That `memory` is above the default of a broken `max_memory` is no mistake of its own.
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].starts_with("local.toml:3: limits.max_memory: "), "{errors:?}");
    assert!(errors[1].starts_with("local.toml:5: observability.log.filter: "), "{errors:?}");
    let clients = "[server.clients]\nmax_unsent = \"16MiB\"\nstall_timeout = \"0s\"\n[server.rest]\ndocs_allow = [\"off\", \"private\"]\n";
    let mut errors = load(&[("local.toml", clients)], &[]).unwrap_err();
    errors.sort();
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(errors[0].contains("server.clients.max_unsent_per_connection: 32MiB is more than"), "{errors:?}");
    assert!(errors[1].starts_with("local.toml:3: server.clients.stall_timeout: "), "{errors:?}");
    assert!(errors[2].starts_with("local.toml:5: server.rest.docs_allow: "), "{errors:?}");
    let credentials = "server.rest.cors = { origins = [\"*\"], credentials = true }\n";
    assert_eq!(load(&[("local.toml", credentials)], &[]).unwrap_err().len(), 1);
    for (text, keys) in [
        ("max_size = \"64MiB\"", ["max_size", "max_wal"]),
        ("wal_checkpoint = \"65MiB\"", ["wal_checkpoint", "max_wal"]),
        ("read_connections = 64", ["max_memory", "read_connections"]),
        ("max_memory = \"1GiB\"", ["max_memory", "max_total_memory"]),
    ] {
        let errors = load(&[("local.toml", &format!("[database.sqlite]\n{text}\n"))], &[]).unwrap_err();
        let named = keys.iter().all(|key| errors[0].contains(&format!("database.sqlite.{key}")));
        assert!(errors.len() == 1 && named, "{errors:?}");
    }
}

#[test]
fn settings_of_plugins_are_free_and_hidden() {
    let text = "[plugins.settings.\"acme/x\"]\nkey = \"hunter2\"\nmany = [\"hunter3\"]\nn = -1\nf = 0.5\nb = true\n";
    let config = load(&[("local.toml", text)], &[]).unwrap();
    let settings = &config.plugins.settings["acme/x"];
    assert_eq!(settings["n"], Setting::Integer(-1));
    assert_eq!(settings["f"], Setting::Decimal(0.5));
    assert_eq!(settings["key"], Setting::Text(Secret::new("hunter2".to_owned())));
    assert_eq!(settings["many"], Setting::Texts(Secret::new(vec!["hunter3".to_owned()])));
    for text in [format!("{config:?}"), config.show()] {
        assert!(!text.contains("hunter"), "{text}");
    }
    let text =
        "[plugins.settings]\nx = 1\n[plugins.settings.\"acme/x\"]\nt.x = 1\nl = [1]\n[plugins.settings.odd]\na = 1\n";
    let errors = load(&[("local.toml", text)], &[]).unwrap_err();
    assert_eq!(errors.len(), 4, "{errors:?}");
}

#[test]
fn a_setting_of_a_plugin_may_say_where_it_is_kept() {
    let text = "[plugins.settings.\"acme/x\"]\na = { env = \"SECRET_1\" }\nb = { file = \"run/a \\\"b\\\"\" }\n[plugins.settings.\"acme/x\".c]\nenv = \"_C\"\n";
    let config = load(&[("local.toml", text)], &[]).unwrap();
    let settings = &config.plugins.settings["acme/x"];
    assert_eq!(settings["a"], Setting::Reference(Reference::Env("SECRET_1".into())));
    assert_eq!(settings["b"], Setting::Reference(Reference::File("run/a \"b\"".into())));
    assert_eq!(settings["c"], Setting::Reference(Reference::Env("_C".into())));
    // It is shown as it was written: where the secret is, not what it is.
    let shown = config.show();
    for words in ["{ env = \"SECRET_1\" }", "{ file = 'run/a \"b\"' }"] {
        assert!(shown.contains(words), "{shown}");
    }
}

#[test]
fn what_is_no_reference_is_told_by_its_key_and_without_its_value() {
    for (value, words) in [
        ("{ env = \"hunter 2\" }", "`env` must be the name"),
        ("{ env = \"2hunter\" }", "`env` must be the name"),
        ("{ env = \"\" }", "`env` must be the name"),
        ("{ file = \"\" }", "`file` must be the path"),
        ("{ vault = \"hunter\" }", "`vault` is neither `env` nor `file`"),
        ("{ env = \"A\", file = \"hunter\" }", "and nothing else"),
        ("{ env = 5 }", "{ env = \"NAME\" }"),
        ("{ file = [\"hunter\"] }", "{ file = "),
        ("{ env = { env = \"hunter\" } }", "{ env = \"NAME\" }"),
        ("{}", "{ env = \"NAME\" }"),
    ] {
        let text = format!("[plugins.settings.\"acme/x\"]\nfine = 1\nkey = {value}\n");
        let errors = load(&[("local.toml", &text)], &[]).unwrap_err();
        let [error] = &errors[..] else { panic!("{value}: {errors:?}") };
        assert!(error.starts_with("local.toml:3: plugins.settings.\"acme/x\".key: "), "{error}");
        assert!(error.contains(words) && !error.contains("hunter"), "{value}: {error}");
    }
}

#[test]
fn units_print_back_what_was_read() {
    for text in ["512B", "64KiB", "1MiB", "3GiB", "2TiB", "5kB", "7MB"] {
        assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
    }
    for text in ["", "5", "MiB", "-1B", "1.5MiB", "1 mib", "99999999999TiB"] {
        assert!(text.parse::<ByteSize>().is_err(), "{text}");
    }
    for text in ["250ms", "5s", "15m", "1h30m", "7d", "1s500ms", "0s"] {
        assert_eq!(text.parse::<HumanDuration>().unwrap().to_string(), text);
    }
    for text in ["", "5", "s", "5m5m", "1s1h", "-1s", "1.5s", "99999999999999999999d"] {
        assert!(text.parse::<HumanDuration>().is_err(), "{text}");
    }
}

#[test]
fn networks_contain_what_they_should() {
    let contains = |net: &str, address: &str| net.parse::<Network>().unwrap().contains(address.parse().unwrap());
    assert!(contains("10.0.0.0/8", "10.255.0.1"));
    assert!(!contains("10.0.0.0/8", "11.0.0.1"));
    assert!(contains("10.0.0.1", "::ffff:10.0.0.1"));
    assert!(!contains("10.0.0.1", "10.0.0.2"));
    assert!(contains("0.0.0.0/0", "1.2.3.4"));
    assert!(!contains("0.0.0.0/0", "::1"));
    assert!(contains("::/0", "::1"));
    assert!(contains("fd00::/8", "fd12::1"));
    assert!("10.0.0.0/33".parse::<Network>().is_err());
    assert!("example.com".parse::<Network>().is_err());
}

#[test]
fn settings_by_which_one_plugin_could_take_what_others_need_are_refused() {
    let refused = |text: &str| load(&[("local.toml", text)], &[]).err().unwrap_or_default().join("\n");
    for (text, keys) in [
        ("limits.max_concurrency = 256\n", &["limits.max_concurrency", "limits.max_instances"][..]),
        ("limits.max_instances = 256\nlimits.max_concurrency = 300\n", &["limits.max_concurrency"]),
        ("limits.instances_reserved = 5\n", &["limits.instances_reserved", "limits.max_plugins"]),
        ("limits.max_plugins = 65\n", &["limits.max_plugins", "limits.instances_reserved"]),
        ("limits.instance_share = 0\n", &["limits.instance_share"]),
        ("limits.instance_share = 101\n", &["limits.instance_share"]),
        ("limits.total_memory = \"128MiB\"\n", &["limits.total_memory", "limits.max_memory"]),
        ("limits.total_memory = \"0%\"\n", &["limits.total_memory"]),
        ("limits.total_memory = \"95%\"\n", &["limits.total_memory"]),
        ("limits.total_memory = \"much\"\n", &["limits.total_memory"]),
        ("limits.max_handles = 1\n", &["limits.max_handles"]),
        ("limits.host_work = 0\n", &["limits.host_work"]),
        ("limits.max_transfer = \"64KiB\"\n", &["cache.max_value_bytes", "limits.max_transfer"]),
        ("security.passwords.max_cost = 0\n", &["security.passwords.max_cost"]),
    ] {
        let said = refused(text);
        assert!(!said.is_empty(), "{text}is accepted");
        assert!(keys.iter().all(|key| said.contains(key)), "{text}{said}");
    }
    let small =
        "limits.max_instances = 16\nlimits.max_concurrency = 8\nlimits.concurrency = 8\nlimits.max_plugins = 4\n";
    assert_eq!(refused(small), "");
    assert_eq!(refused("limits.total_memory = \"256MiB\"\n"), "");
    // A part of a small machine is never less than one instance may have.
    let config = load(&[("local.toml", "limits.total_memory = \"1%\"\n")], &[]).unwrap();
    assert!(config.limits.total_memory_bytes() >= 256 << 20);
}
