//! Rules over single values that a type cannot say, and over several values together.

mod shares;

use std::time::Duration;

use super::{Config, Cors, Limits, Security, Server, Sqlite};

/// A broken rule: the key to blame first, then the others it looked at.
pub(super) struct Broken {
    pub keys: Vec<&'static str>,
    pub problem: String,
}

#[derive(Default)]
struct Rules(Vec<Broken>);

impl Rules {
    fn must(&mut self, holds: bool, keys: &[&'static str], problem: &str) {
        if !holds {
            self.0.push(Broken { keys: keys.to_vec(), problem: problem.to_owned() });
        }
    }

    fn positive(&mut self, values: &[(&'static str, u64)]) {
        for (key, value) in values {
            self.must(*value > 0, &[key], "must be more than 0");
        }
    }

    fn at_most<T: PartialOrd + std::fmt::Display>(&mut self, small: (&'static str, T), large: (&'static str, T)) {
        let problem = format!("{} is more than `{}`, which is {}", small.1, large.0, large.1);
        self.must(small.1 <= large.1, &[small.0, large.0], &problem);
    }
}

/// Every rule that this configuration breaks.
pub(super) fn check(config: &Config) -> Vec<Broken> {
    let mut rules = Rules::default();
    server(config, &mut rules);
    cors(&config.server.rest.cors, &mut rules);
    sqlite(&config.database.sqlite, &mut rules);
    limits(&config.limits, &mut rules);
    security(&config.security, &mut rules);
    shares::shares(config, &mut rules);
    let filter = tracing_subscriber::EnvFilter::builder().parse(&config.observability.log.filter);
    rules.must(
        filter.is_ok(),
        &["observability.log.filter"],
        "is neither a level nor directives such as \"info,arcana::runtime=debug\"",
    );
    for (key, readers) in [
        ("observability.metrics.allow", &config.observability.metrics.allow),
        ("server.rest.docs_allow", &config.server.rest.docs_allow),
    ] {
        rules.must(readers.mistake().is_none(), &[key], readers.mistake().unwrap_or_default());
    }
    rules.must(
        config.observability.metrics.max_age.get() <= Duration::from_secs(60),
        &["observability.metrics.max_age"],
        "must be at most 60s",
    );
    log(config, &mut rules);
    let cache = &config.cache;
    rules.positive(&[
        ("cache.max_bytes_per_plugin", cache.max_bytes_per_plugin.as_u64()),
        ("cache.max_value_bytes", cache.max_value_bytes.as_u64()),
        ("cache.max_key_bytes", cache.max_key_bytes.as_u64()),
        ("cache.max_ttl", cache.max_ttl.as_millis_u64()),
        ("plugins.max_file_bytes", config.plugins.max_file_bytes.as_u64()),
        ("plugins.max_migrations", config.plugins.max_migrations.into()),
        ("plugins.max_migration_bytes", config.plugins.max_migration_bytes.as_u64()),
        ("plugins.debounce", config.plugins.debounce.as_millis_u64()),
        ("plugins.poll", config.plugins.poll.as_millis_u64()),
        ("plugins.keep_changes", config.plugins.keep_changes.into()),
        ("plugins.upload_timeout", config.plugins.upload_timeout.as_millis_u64()),
        ("plugins.max_uploads", config.plugins.max_uploads.into()),
        ("plugins.max_followers", config.plugins.max_followers.into()),
        ("plugins.max_followers_per_account", config.plugins.max_followers_per_account.into()),
    ]);
    let plugins = &config.plugins;
    rules.must(
        plugins.keep_versions >= 2,
        &["plugins.keep_versions"],
        "must be 2 at least: one that runs, and one to go back to",
    );
    rules.must(plugins.probation.percent <= 100, &["plugins.probation.percent"], "must be 0 to 100");
    rules.must(plugins.log_lines <= 100_000, &["plugins.log_lines"], "must be at most 100000");
    rules.at_most(
        ("cache.max_value_bytes", cache.max_value_bytes),
        ("cache.max_bytes_per_plugin", cache.max_bytes_per_plugin),
    );
    rules.must(!config.plugins.dir.as_os_str().is_empty(), &["plugins.dir"], "must name a folder");
    rules.must(!config.plugins.trust.as_os_str().is_empty(), &["plugins.trust"], "must name a file");
    for id in config.plugins.settings.keys() {
        let problem = format!("`{id}` is no id of a plugin, such as \"acme/bookmarks\"");
        rules.must(is_plugin_id(id), &["plugins.settings"], &problem);
    }
    rules.0
}

fn server(config: &Config, rules: &mut Rules) {
    let environment = &config.app.environment;
    let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    rules.must(
        !environment.is_empty() && environment.chars().all(named),
        &["app.environment"],
        "must be lower-case letters, digits, `-` and `_`",
    );
    rules.must(
        !["default", "local", "trust", "monolithic"].contains(&environment.as_str()),
        &["app.environment"],
        "is the name of another file in the folder",
    );
    rules.must(!config.app.data_dir.as_os_str().is_empty(), &["app.data_dir"], "must name a folder");
    let rest = &config.server.rest;
    rules.positive(&[
        ("server.rest.max_body", rest.max_body.as_u64()),
        ("server.rest.body_timeout", rest.body_timeout.as_millis_u64()),
        ("server.rest.header_read_timeout", rest.header_read_timeout.as_millis_u64()),
        ("server.rest.max_connections", rest.max_connections.into()),
        ("server.rest.max_streams_per_connection", rest.max_streams_per_connection.into()),
        ("server.rest.idle_timeout", rest.idle_timeout.as_millis_u64()),
    ]);
    let grpc = &config.server.grpc;
    rules.positive(&[
        ("server.grpc.max_message", grpc.max_message.as_u64()),
        ("server.grpc.message_timeout", grpc.message_timeout.as_millis_u64()),
        ("server.grpc.max_header_bytes", grpc.max_header_bytes.as_u64()),
        ("server.grpc.max_connections", grpc.max_connections.into()),
        ("server.grpc.max_streams_per_connection", grpc.max_streams_per_connection.into()),
        ("server.grpc.keep_alive_interval", grpc.keep_alive_interval.as_millis_u64()),
        ("server.grpc.keep_alive_timeout", grpc.keep_alive_timeout.as_millis_u64()),
        ("server.grpc.idle_timeout", grpc.idle_timeout.as_millis_u64()),
    ]);
    clients(&config.server, rules);
    let same = grpc.enabled && grpc.port != 0 && grpc.port == rest.port && grpc.address == rest.address;
    rules.must(
        !same,
        &["server.grpc.port", "server.rest.port"],
        "is the port of REST; to serve both on one port set server.grpc.multiplexed and another port",
    );
    rules.must(
        (8 << 10..=1 << 20).contains(&rest.max_header_bytes.as_u64()),
        &["server.rest.max_header_bytes"],
        "must be from 8KiB to 1MiB",
    );
}

fn clients(server: &Server, rules: &mut Rules) {
    let clients = &server.clients;
    rules.positive(&[
        ("server.clients.max_connections_per_address", clients.max_connections_per_address.into()),
        ("server.clients.max_requests_per_address", clients.max_requests_per_address.into()),
    ]);
    rules.must(
        clients.stall_timeout.get() >= Duration::from_secs(1),
        &["server.clients.stall_timeout"],
        "must be at least 1s",
    );
    rules.must(
        clients.max_unsent_per_connection.as_u64() >= 64 << 10,
        &["server.clients.max_unsent_per_connection"],
        "must be at least 64KiB",
    );
    rules.at_most(
        ("server.clients.max_unsent_per_connection", clients.max_unsent_per_connection),
        ("server.clients.max_unsent", clients.max_unsent),
    );
}

fn log(config: &Config, rules: &mut Rules) {
    let (log, limits) = (&config.observability.log, &config.limits);
    rules.must(
        (64 << 10..=1 << 30).contains(&log.buffer.as_u64()),
        &["observability.log.buffer"],
        "must be from 64KiB to 1GiB",
    );
    // A line of nothing but characters that are escaped becomes six times as long.
    rules.must(
        limits.log_line_bytes.as_u64().saturating_mul(8) <= log.buffer.as_u64(),
        &["observability.log.buffer", "limits.log_line_bytes"],
        "must hold eight lines of `limits.log_line_bytes`",
    );
    rules.must(
        (1..=10_000).contains(&log.flush.as_millis_u64()),
        &["observability.log.flush"],
        "must be from 1ms to 10s",
    );
    rules.must(limits.log_lines_per_second > 0, &["limits.log_lines_per_second"], "must be more than 0");
    rules.at_most(
        ("limits.log_lines_per_call", limits.log_lines_per_call),
        ("limits.log_lines_per_second", limits.log_lines_per_second),
    );
}

fn cors(cors: &Cors, rules: &mut Rules) {
    const ORIGINS: &str = "server.rest.cors.origins";
    let any = cors.origins.iter().any(|origin| origin == "*");
    rules.must(!any || cors.origins.len() == 1, &[ORIGINS], "`*` stands alone");
    rules.must(
        !any || !cors.credentials,
        &["server.rest.cors.credentials", ORIGINS],
        "credentials cannot be allowed together with the origin `*`",
    );
    for origin in cors.origins.iter().filter(|origin| *origin != "*") {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        let good = host.is_some_and(|host| {
            let letter = |c: char| c.is_ascii_graphic() && !c.is_ascii_uppercase() && !"/?#@*\\".contains(c);
            !host.is_empty() && host.chars().all(letter)
        });
        let problem =
            format!("`{origin}` is no origin, such as \"https://app.example.com\" (no path, no slash at the end)");
        rules.must(good, &[ORIGINS], &problem);
    }
    let token = |text: &String| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
    };
    rules.must(cors.methods.iter().all(token), &["server.rest.cors.methods"], "must be a list of HTTP methods");
    rules.must(cors.headers.iter().all(token), &["server.rest.cors.headers"], "must be a list of header names");
}

fn sqlite(sqlite: &Sqlite, rules: &mut Rules) {
    rules.positive(&[
        ("database.sqlite.statement_timeout", sqlite.statement_timeout.as_millis_u64()),
        ("database.sqlite.max_rows", sqlite.max_rows.into()),
        ("database.sqlite.max_result_bytes", sqlite.max_result_bytes.as_u64()),
    ]);
    rules.must(
        sqlite.threads == 0 || (4..=512).contains(&sqlite.threads),
        &["database.sqlite.threads"],
        "must be from 4 to 512, or 0 for two a core",
    );
    rules.must(
        (1..=64).contains(&sqlite.max_stuck_threads),
        &["database.sqlite.max_stuck_threads"],
        "must be from 1 to 64",
    );
    rules.must(
        (1..=64).contains(&sqlite.read_connections),
        &["database.sqlite.read_connections"],
        "must be from 1 to 64",
    );
    rules.must(sqlite.max_size.as_u64() >= 1 << 20, &["database.sqlite.max_size"], "must be at least 1MiB");
    let (wal_checkpoint, max_wal) = ("database.sqlite.wal_checkpoint", "database.sqlite.max_wal");
    rules.must(sqlite.wal_checkpoint.as_u64() >= 256 << 10, &[wal_checkpoint], "must be at least 256KiB");
    rules.must(
        sqlite.wal_checkpoint.as_u64() <= sqlite.max_wal.as_u64() / 2,
        &[wal_checkpoint, max_wal],
        "must be at most half of `database.sqlite.max_wal`, or writes are refused before the log is moved into the file",
    );
    rules.must(
        sqlite.max_wal.as_u64() <= sqlite.max_size.as_u64() / 2,
        &[max_wal, "database.sqlite.max_size"],
        "must be at most half of `database.sqlite.max_size`, which the log is a part of",
    );
    let (memory, total) = ("database.sqlite.max_memory", "database.sqlite.max_total_memory");
    rules.must(
        sqlite.max_memory.as_u64() >= (u64::from(sqlite.read_connections) + 1).saturating_mul(1 << 20),
        &[memory, "database.sqlite.read_connections"],
        "must be at least 1MiB for each connection: `database.sqlite.read_connections` and the writer",
    );
    rules.at_most((memory, sqlite.max_memory), (total, sqlite.max_total_memory));
    let limits = &sqlite.limits;
    // SQLite recurses over what is nested and chained, and nothing stops it while it compiles the rest.
    for (key, value, least, most) in [
        ("database.sqlite.limits.nesting", limits.nesting, 16, 128),
        ("database.sqlite.limits.common_tables", limits.common_tables, 1, 1_000),
        ("database.sqlite.limits.sources", limits.sources, 64, 4_000),
        ("database.sqlite.limits.references", limits.references, 1_000, 200_000),
        ("database.sqlite.limits.tables", limits.tables, 16, 10_000),
        ("database.sqlite.limits.indexes", limits.indexes, 1, 1_000),
        ("database.sqlite.limits.triggers", limits.triggers, 0, 10_000),
        ("database.sqlite.limits.trigger_chain", limits.trigger_chain, 1, 256),
    ] {
        rules.must((least..=most).contains(&value), &[key], &format!("must be from {least} to {most}"));
    }
}

fn limits(limits: &Limits, rules: &mut Rules) {
    rules.positive(&[
        ("limits.max_plugins", limits.max_plugins.into()),
        ("limits.max_instances", limits.max_instances.into()),
        ("limits.call_timeout", limits.call_timeout.as_millis_u64()),
        ("limits.concurrency", limits.concurrency.into()),
        ("limits.calls_per_instance", limits.calls_per_instance),
        ("limits.log_line_bytes", limits.log_line_bytes.as_u64()),
        ("limits.max_transfer", limits.max_transfer.as_u64()),
        ("limits.max_function_body", limits.max_function_body.as_u64()),
        ("limits.compile.timeout", limits.compile.timeout.as_millis_u64()),
        ("limits.compile.wait", limits.compile.wait.as_millis_u64()),
        ("limits.contract.parts", limits.contract.parts),
        ("limits.contract.expanded", limits.contract.expanded),
        ("limits.contract.wit", limits.contract.wit.as_u64()),
        ("limits.contract.timeout", limits.contract.timeout.as_millis_u64()),
    ]);
    rules.must(limits.memory.as_u64() >= 64 << 10, &["limits.memory"], "must be at least 64KiB, one page");
    rules.must(limits.max_memory.as_u64() <= 4 << 30, &["limits.max_memory"], "must be at most 4GiB");
    rules.at_most(("limits.memory", limits.memory), ("limits.max_memory", limits.max_memory));
    rules.at_most(("limits.call_timeout", limits.call_timeout), ("limits.max_call_timeout", limits.max_call_timeout));
    rules.at_most(("limits.concurrency", limits.concurrency), ("limits.max_concurrency", limits.max_concurrency));
    rules.must(
        (64 << 10..=8 << 20).contains(&limits.wasm_stack.as_u64()),
        &["limits.wasm_stack"],
        "must be from 64KiB to 8MiB",
    );
    rules.must(
        (1..=1000).contains(&limits.epoch_tick.as_millis_u64()),
        &["limits.epoch_tick"],
        "must be from 1ms to 1s",
    );
    rules.at_most(
        ("limits.contract.parts", limits.contract.parts),
        ("limits.contract.expanded", limits.contract.expanded),
    );
    rules.must(
        limits.compile.places == 0 || (2..=64).contains(&limits.compile.places),
        &["limits.compile.places"],
        "must be 0, or from 2 to 64: one publisher never has the last place",
    );
    rules.must(limits.compile.cpu.get() >= Duration::from_secs(1), &["limits.compile.cpu"], "must be at least 1s");
    rules.must(limits.compile.memory.as_u64() >= 256 << 20, &["limits.compile.memory"], "must be at least 256MiB");
}

fn security(security: &Security, rules: &mut Rules) {
    let tokens = &security.tokens;
    rules.must(!tokens.issuer.is_empty(), &["security.tokens.issuer"], "must not be empty");
    rules.must(!tokens.audience.is_empty(), &["security.tokens.audience"], "must not be empty");
    rules.must(
        (Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&tokens.life.get()),
        &["security.tokens.life"],
        "must be from 1s to 1d",
    );
    rules.must(tokens.leeway.get() <= Duration::from_secs(60), &["security.tokens.leeway"], "must be at most 60s");
    rules.must(tokens.cache_entries <= 1 << 20, &["security.tokens.cache_entries"], "must be at most 1048576");
    let passwords = &security.passwords;
    rules.must((1..=64).contains(&passwords.iterations), &["security.passwords.iterations"], "must be from 1 to 64");
    rules.must((1..=16).contains(&passwords.parallelism), &["security.passwords.parallelism"], "must be from 1 to 16");
    rules.must(
        passwords.memory.as_u64().is_multiple_of(1024)
            && (u64::from(passwords.parallelism).saturating_mul(8 << 10)..=1 << 30)
                .contains(&passwords.memory.as_u64()),
        &["security.passwords.memory", "security.passwords.parallelism"],
        "must be whole KiB, from 8KiB for each lane to 1GiB",
    );
    rules.must(passwords.concurrency <= 64, &["security.passwords.concurrency"], "must be at most 64");
    rules.must(passwords.queue <= 65_536, &["security.passwords.queue"], "must be at most 65536");
}

fn is_plugin_id(id: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
    };
    id.split_once('/').is_some_and(|(namespace, name)| part(namespace) && part(name))
}
