//! Sizes that may be a part of the memory of the machine, and how much memory that is.

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer};

use super::units::ByteSize;

/// The memory of a machine that does not say how much it has.
const UNKNOWN: u64 = 4 << 30;

/// A number of bytes, written as [`ByteSize`] is, or a part of the machine's memory, written `25%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemorySize {
    /// So many bytes.
    Bytes(ByteSize),
    /// So many hundredths of what the machine has, or of what the control group of the process may use where that is less.
    Percent(u8),
}

impl MemorySize {
    /// The number of bytes on this machine.
    #[must_use]
    pub fn resolve(self) -> u64 {
        match self {
            Self::Bytes(size) => size.as_u64(),
            Self::Percent(percent) => available().unwrap_or(UNKNOWN) / 100 * u64::from(percent),
        }
    }
}

impl FromStr for MemorySize {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const HELP: &str = "a size with its unit, such as \"2GiB\", or a part of the machine's memory, such as \"25%\"";
        match text.trim().strip_suffix('%') {
            Some(percent) => percent.trim_end().parse().map(Self::Percent).map_err(|_| HELP),
            None => text.parse().map(Self::Bytes).map_err(|_| HELP),
        }
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(size) => size.fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl<'de> Deserialize<'de> for MemorySize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|expected| D::Error::invalid_value(Unexpected::Str(&text), &expected))
    }
}

/// Bytes of memory that this process may use: of the machine, or of its control group where that has less.
fn available() -> Option<u64> {
    available_in(Path::new("/"))
}

fn available_in(root: &Path) -> Option<u64> {
    let read = |path: &str| fs::read_to_string(root.join(path)).ok();
    let machine = read("proc/meminfo").and_then(|text| mem_total(&text));
    let groups = read("proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        // Version 2 has one hierarchy and names no controllers.
        let (mounts, file): (&[&str], _) = match controllers {
            "" => (&["sys/fs/cgroup", "sys/fs/cgroup/unified"], "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (&["sys/fs/cgroup/memory"], "memory.limit_in_bytes")
            }
            _ => return None,
        };
        mounts.iter().filter_map(|mount| lowest(&root.join(mount), path, file)).min()
    });
    limits.chain(machine).min()
}

/// The lowest limit of a group and of those that it is in. In a container the path may be that of the machine, and the mounted
/// folder the group itself.
fn lowest(mount: &Path, path: &str, file: &str) -> Option<u64> {
    let group = Path::new(path.trim_start_matches('/'));
    let limit = |folder: &Path| fs::read_to_string(mount.join(folder).join(file)).ok()?.trim().parse::<u64>().ok();
    group.ancestors().filter_map(limit).min()
}

fn mem_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        available_in(root.path())
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       8388608 kB\nMemFree:         1024 kB\n");

    #[test]
    fn the_smaller_of_machine_and_control_group_counts() {
        assert_eq!(machine(&[]), None);
        assert_eq!(machine(&[MEMINFO]), Some(8 << 30));
        // Version 2: the group or one that it is in.
        let group = ("proc/self/cgroup", "0::/a/b\n");
        let (own, outer) = (("sys/fs/cgroup/a/b/memory.max", "max\n"), ("sys/fs/cgroup/a/memory.max", "1073741824\n"));
        assert_eq!(machine(&[MEMINFO, group, own]), Some(8 << 30));
        assert_eq!(machine(&[MEMINFO, group, own, outer]), Some(1 << 30));
        // In a container the folder of the group is the mounted one.
        let container = ("sys/fs/cgroup/memory.max", "536870912\n");
        assert_eq!(machine(&[MEMINFO, ("proc/self/cgroup", "0::/\n"), container]), Some(512 << 20));
        // Version 1, also where the path is that of the machine outside.
        let group = ("proc/self/cgroup", "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n1:name=systemd:/docker/x\n");
        let inside = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n");
        assert_eq!(machine(&[MEMINFO, group, inside]), Some(256 << 20));
        let none = ("sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(machine(&[MEMINFO, group, none]), Some(8 << 30));
    }

    #[test]
    fn sizes_are_bytes_or_parts() {
        assert_eq!("2GiB".parse(), Ok(MemorySize::Bytes(ByteSize::new(2 << 30))));
        assert_eq!("25%".parse(), Ok(MemorySize::Percent(25)));
        assert_eq!(MemorySize::Percent(25).to_string(), "25%");
        for wrong in ["", "25", "300%", "-1%", "%", "a quarter"] {
            assert!(wrong.parse::<MemorySize>().is_err(), "{wrong}");
        }
        assert!(MemorySize::Percent(50).resolve() > MemorySize::Percent(25).resolve());
    }
}
