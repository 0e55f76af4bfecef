//! What a policy may use.

use serde::{Deserialize, Serialize};

/// How much a policy may use; the same for every policy of a host. Keys carry their units, and each may be left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest component taken, in bytes.
    pub component_bytes_max: u64,
    /// Longest a component may take to compile, in milliseconds. Compiling cannot be interrupted: a compiler that overruns ends in
    /// its own time, and until then nothing else is compiled.
    pub compile_ms_max: u64,
    /// Longest a question may take, in milliseconds of wall-clock time, a fresh instance included. Kept to about 10 ms.
    pub question_ms_max: u64,
    /// Linear memory of one instance, all its memories together, in bytes.
    pub memory_bytes_max: u64,
    /// Stack of one instance, in bytes.
    pub stack_bytes_max: u64,
    /// Answer to one question, in bytes as the host holds it.
    pub output_bytes_max: u64,
    /// Linear memories of one instance.
    pub memories_max: u32,
    /// Tables of one instance.
    pub tables_max: u32,
    /// Elements of its tables together.
    pub table_elements_max: u32,
    /// Core modules and components instantiated inside one instance.
    pub instances_max: u32,
    /// Compiled policies held in memory; the one not asked for longest makes room.
    pub compiled_policies_max: u32,
    /// Size of the cache directory, if there is one, in bytes; the oldest entries make room.
    pub cache_bytes_max: u64,
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

impl Default for Limits {
    /// Room for a policy in Python (19 MB, 38 instances inside, 100 MB of memory), the largest kind there is.
    fn default() -> Self {
        Self {
            component_bytes_max: 32 * MIB,
            compile_ms_max: 60_000,
            question_ms_max: 1000,
            memory_bytes_max: 128 * MIB,
            stack_bytes_max: 512 * KIB,
            output_bytes_max: 4 * MIB,
            memories_max: 8,
            tables_max: 64,
            table_elements_max: 100_000,
            instances_max: 64,
            compiled_policies_max: 64,
            cache_bytes_max: 1024 * MIB,
        }
    }
}

impl Limits {
    /// A byte count as the platform counts memory.
    pub(crate) fn clamped(bytes: u64) -> usize {
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_may_be_left_out_but_not_mistyped() {
        let limits: Limits = toml::from_str("question_ms_max = 50").unwrap();
        assert_eq!(limits, Limits { question_ms_max: 50, ..Limits::default() });
        let error = toml::from_str::<Limits>("question_max_ms = 50").unwrap_err().to_string();
        assert!(error.contains("unknown field `question_max_ms`") && error.contains("`question_ms_max`"), "{error}");
    }
}
