//! What a policy may use.

use serde::{Deserialize, Serialize};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Declares the limits once: key, default and meaning, as a struct, its default and its list.
macro_rules! limits {
    ($($(#[$doc:meta])* $key:ident: $ty:ty = $default:expr, $meaning:literal;)*) => {
        /// How much a policy may use; the same for every policy of a host. Keys carry their units, and each may be left out.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Limits {
            $(#[doc = $meaning] $(#[$doc])* pub $key: $ty,)*
        }

        impl Default for Limits {
            /// Room for a policy in Python (19 MB, 38 instances inside, 100 MB of memory), the largest kind there is.
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }

        impl Limits {
            /// Every limit as (key, value, meaning), for lists that users read; the key carries the unit.
            #[must_use]
            pub fn entries(&self) -> Vec<(&'static str, u64, &'static str)> {
                vec![$((stringify!($key), self.$key.into(), $meaning),)*]
            }
        }
    };
}

limits! {
    component_bytes_max: u64 = 32 * MIB, "Largest component taken.";
    /// Compiling in a child process ends there; on a thread it cannot be interrupted, and nothing else is compiled until it ends.
    compile_ms_max: u64 = 180_000, "Longest a component may take to compile; one in Python takes 20 s on an idle core.";
    /// Address space, the compiler's own code included. Only a child process can be held to it.
    compile_memory_bytes_max: u64 = 2048 * MIB, "Memory that compiling one component may take.";
    question_ms_max: u64 = 1000, "Longest a question may take by the wall clock, a fresh instance included; kept to about 10 ms.";
    chunk_ms_max: u64 = 2000, "Longest one combine or step may take for one chunk, by the wall clock; kept to about 10 ms.";
    round_ms_max: u64 = 1_800_000, "Longest all chunks of one round together may take in the policy, the times of all threads added up.";
    /// Instances whose memory is set aside once and used again and again, which costs a fresh one neither `mmap` nor `munmap`; a
    /// component with more than one memory or many inner instances (Python) does without, and so does the question that finds all taken.
    pooled_instances_max: u32 = 32, "Instances of small components that are pooled; 0 for none, and none where address space is limited.";
    memory_bytes_max: u64 = 128 * MIB, "Linear memory of one instance, all its memories together.";
    stack_bytes_max: u64 = 512 * KIB, "Stack of one instance.";
    output_bytes_max: u64 = 4 * MIB, "Answer to one question, as the host holds it.";
    memories_max: u32 = 8, "Linear memories of one instance.";
    tables_max: u32 = 64, "Tables of one instance.";
    table_elements_max: u32 = 100_000, "Elements of its tables together.";
    instances_max: u32 = 64, "Core modules and components instantiated inside one instance.";
    compiled_policies_max: u32 = 64, "Compiled policies held in memory; the one not asked for longest makes room.";
    cache_bytes_max: u64 = 1024 * MIB, "Size of the cache directory, if there is one; the oldest entries make room.";
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
