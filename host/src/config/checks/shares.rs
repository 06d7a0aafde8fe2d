//! Rules by which no plugin can take what others need.

use super::Rules;
use crate::config::{Config, MemorySize};

/// Settings that contradict each other would undo what each of them promises.
pub(super) fn shares(config: &Config, rules: &mut Rules) {
    let limits = &config.limits;
    // With one instance there is nothing to share.
    rules.must(
        limits.max_concurrency < limits.max_instances || limits.max_instances <= 1,
        &["limits.max_concurrency", "limits.max_instances"],
        &format!(
            "{} is not less than `limits.max_instances`, which is {}: one plugin could take every instance",
            limits.max_concurrency, limits.max_instances
        ),
    );
    let reserved = u64::from(limits.instances_reserved).saturating_mul(limits.max_plugins.into());
    rules.must(
        reserved <= limits.max_instances.into(),
        &["limits.instances_reserved", "limits.max_plugins", "limits.max_instances"],
        &format!(
            "{} for each of `limits.max_plugins` ({}) is more than `limits.max_instances`, which is {}",
            limits.instances_reserved, limits.max_plugins, limits.max_instances
        ),
    );
    rules.must((1..=100).contains(&limits.instance_share), &["limits.instance_share"], "must be from 1 to 100");
    rules.must((16..=100_000).contains(&limits.max_handles), &["limits.max_handles"], "must be from 16 to 100000");
    rules.must((1..=64).contains(&limits.host_work), &["limits.host_work"], "must be from 1 to 64");
    match limits.total_memory {
        MemorySize::Bytes(total) => {
            rules.at_most(("limits.max_memory", limits.max_memory), ("limits.total_memory", total));
        }
        MemorySize::Percent(percent) => {
            rules.must((1..=90).contains(&percent), &["limits.total_memory"], "must be from 1% to 90%");
        }
    }
    rules
        .at_most(("cache.max_value_bytes", config.cache.max_value_bytes), ("limits.max_transfer", limits.max_transfer));
    rules.must(
        (1..=64).contains(&config.security.passwords.max_cost),
        &["security.passwords.max_cost"],
        "must be from 1 to 64",
    );
}
