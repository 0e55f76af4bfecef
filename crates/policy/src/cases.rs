//! What `polder policy test` runs: cases that a policy's author recorded, and what the contract asks of everybody.
//!
//! A case is a folder with two files. `question.json` says what to call and with what:
//!
//! ```json
//! {"call": "weigh", "parameters": {"weighted": true}, "question": {"round": 1, "updates": [{"examples": 1}, {"examples": 3}]}}
//! ```
//!
//! | call | has | answers |
//! | --- | --- | --- |
//! | `describe` | | `shape`, `statistics`, `updates_min`, `has_step`, `state_tensors`, `training` |
//! | `weigh` | `question` | `weights`, `extra_weights`, `memo`, `state`, `notes`, `reason` |
//! | `combine` | `chunk`, `rows`, `weights` | `aggregate` |
//! | `step` | `chunk`, `model`, `aggregate`, `extra`, `state` | `model`, `state` |
//! | `place` | `question` | `assignments`, `declined`, `state` |
//! | `review` | `question` | `verdict`, `state`, `reason` |
//!
//! Questions and answers are those of [`polder_core::policy`]; what a question of `weigh` or `review` leaves out is zero, empty or none.
//! `answer.json` holds what is expected, and only that is compared: an answer without `reason` leaves the policy free to say what it
//! likes. `{"error": "at least 3 updates"}` expects a failure with these words. Floats are compared exactly, unless the question says
//! how far they may be apart: `"tolerance": 1e-6`.

mod checks;
mod compare;
mod generated;
mod run;
mod seats;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use polder_core::policy::PlacementQuestion;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use checks::{Check, contract_checks};
pub use run::{CaseResult, run_case};

/// Largest file of a case, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A question with a known answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The folder's name.
    pub name: String,
    pub question: CaseQuestion,
    /// What is expected of the answer.
    pub answer: Value,
}

/// `question.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseQuestion {
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// How far floats may be apart, as a share of the expected one or, below 1, absolutely.
    #[serde(default)]
    pub tolerance: f64,
    #[serde(flatten)]
    pub call: Call,
}

/// What a case asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "kebab-case")]
pub enum Call {
    Describe,
    Weigh {
        /// An [`AggregationQuestion`](polder_core::policy::AggregationQuestion), as far as it matters.
        question: Value,
    },
    Combine {
        #[serde(default)]
        chunk: CaseChunk,
        rows: Vec<Vec<f32>>,
        weights: Vec<f32>,
    },
    Step {
        #[serde(default)]
        chunk: CaseChunk,
        model: Vec<f32>,
        aggregate: Vec<f32>,
        #[serde(default)]
        extra: Vec<Vec<f32>>,
        #[serde(default)]
        state: Vec<Vec<f32>>,
    },
    Place {
        question: PlacementQuestion,
    },
    Review {
        /// A [`ReleaseQuestion`](polder_core::policy::ReleaseQuestion), as far as it matters.
        question: Value,
    },
}

/// The contract's `chunk`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaseChunk {
    pub round: u32,
    pub seed: u64,
    pub tensor: u32,
    pub offset: u64,
    pub memo: Vec<u8>,
}

/// Why a case could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaseError {
    #[error("cannot read {path}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{path} is no {what}: {source}")]
    Malformed { path: PathBuf, what: &'static str, source: serde_json::Error },
    #[error("{path} holds no case; a case is a folder with question.json and answer.json")]
    NoCases { path: PathBuf },
}

impl Case {
    /// Reads one case from its folder.
    ///
    /// # Errors
    /// If a file is not there or not what it should be.
    pub fn read(folder: &Path) -> Result<Self, CaseError> {
        Ok(Self {
            name: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            question: read_json(&folder.join("question.json"), "question")?,
            answer: read_json(&folder.join("answer.json"), "answer")?,
        })
    }

    /// Reads every case below a folder, in the order of their names.
    ///
    /// # Errors
    /// As for [`read`](Self::read), and if there is none.
    pub fn read_all(path: &Path) -> Result<Vec<Self>, CaseError> {
        let unreadable = |source| CaseError::Unreadable { path: path.into(), source };
        let mut folders = Vec::new();
        for entry in fs::read_dir(path).map_err(unreadable)? {
            let folder = entry.map_err(unreadable)?.path();
            if folder.is_dir() {
                folders.push(folder);
            }
        }
        if folders.is_empty() {
            return Err(CaseError::NoCases { path: path.into() });
        }
        folders.sort();
        folders.iter().map(|folder| Self::read(folder)).collect()
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path, what: &'static str) -> Result<T, CaseError> {
    let read = || -> io::Result<Vec<u8>> {
        let file = fs::File::open(path)?;
        let mut bytes = Vec::new();
        if io::copy(&mut io::Read::take(file, FILE_BYTES_MAX + 1), &mut bytes)? > FILE_BYTES_MAX {
            return Err(io::Error::other(format!("larger than {FILE_BYTES_MAX} bytes")));
        }
        Ok(bytes)
    };
    let bytes = read().map_err(|source| CaseError::Unreadable { path: path.into(), source })?;
    serde_json::from_slice(&bytes).map_err(|source| CaseError::Malformed { path: path.into(), what, source })
}
