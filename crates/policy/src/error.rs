//! What goes wrong with policies.

use polder_core::policy::{
    EXTRA_WEIGHTS_MAX, MEMO_BYTES_MAX, PolicyKind, STATE_BYTES_MAX, STATE_TENSORS_MAX, STRENGTH_MAX,
};

use crate::contract::CONTRACT_VERSION;

/// Why a policy could not be loaded, or gave no answer that can be used. Every message is one sentence for the person who set
/// the policy up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The bytes are no policy.
    #[error(transparent)]
    NotAPolicy(#[from] NotAPolicy),
    /// It took too long to compile, or another one did and still does.
    #[error("the policy was not compiled within {limit_ms} ms; make it smaller, or raise compile_ms_max")]
    CompileTimedOut { limit_ms: u64 },
    /// The compiler wanted more memory than it may have.
    #[error(
        "the policy needs more than {limit_bytes} bytes of memory to compile; make it smaller, or raise compile_memory_bytes_max"
    )]
    CompileOutOfMemory { limit_bytes: u64 },
    /// A placement policy was asked to weigh, or the like.
    #[error("this is a policy of the kind {is}, and a policy of the kind {asked} was asked for")]
    WrongKind { asked: PolicyKind, is: PolicyKind },
    /// The guest failed: unreachable code (a panic, in Rust), memory outside its own, division by zero.
    #[error("the policy trapped: {reason}")]
    Trapped { reason: String },
    #[error("the policy did not answer within {limit_ms} ms (question_ms_max)")]
    TimedOut { limit_ms: u64 },
    /// One call of `combine` or `step`.
    #[error("the policy did not finish a chunk within {limit_ms} ms (chunk_ms_max)")]
    ChunkTimedOut { limit_ms: u64 },
    /// All chunks of a round together.
    #[error("the policy has used up the {limit_ms} ms that it has for all chunks of a round together (round_ms_max)")]
    RoundTimedOut { limit_ms: u64 },
    #[error("the policy asked for more than {limit_bytes} bytes of memory (memory_bytes_max)")]
    OutOfMemory { limit_bytes: u64 },
    /// More tables, table elements, memories or instances than allowed.
    #[error("the policy asked for more than it may have: {reason}")]
    OutOfRoom { reason: String },
    #[error("the policy called itself until its stack of {limit_bytes} bytes was full (stack_bytes_max)")]
    StackOverflow { limit_bytes: u64 },
    #[error("the policy's answer is larger than {limit_bytes} bytes (output_bytes_max)")]
    OutputTooLarge { limit_bytes: u64 },
    /// The policy's own word on the parameters it was given.
    #[error("the policy refuses its parameters: {message}")]
    Parameters { message: String },
    /// The policy's own word on the question.
    #[error("the policy has no answer: {message}")]
    Refused { message: String },
    /// An answer came, but not one that can be used.
    #[error("the policy's answer makes no sense: {0}")]
    Nonsense(#[from] Nonsense),
    /// The question contradicts itself; the policy was not asked.
    #[error("the question makes no sense, and the policy was not asked: {reason}")]
    Question { reason: String },
    /// The sandbox itself could not be set up.
    #[error("the policy sandbox does not work on this machine: {reason}")]
    Host { reason: String },
    #[error("the policy cache {path} cannot be used")]
    Cache { path: std::path::PathBuf, source: std::io::Error },
}

/// Why bytes are no policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotAPolicy {
    #[error("the policy has {bytes} bytes, and at most {limit_bytes} are taken (component_bytes_max)")]
    TooLarge { bytes: u64, limit_bytes: u64 },
    #[error("not a policy: these bytes are no WebAssembly")]
    NotWebAssembly,
    #[error(
        "not a policy: this is a core module; wrap it into a component that exports a world of polder:policy@{CONTRACT_VERSION} \
         (`wasm-tools component new`, or wit-component)"
    )]
    CoreModule,
    /// Damaged, truncated, or made with features of WebAssembly that policies may not use.
    #[error("not a policy: the component is damaged or uses what policies may not use: {reason}")]
    Malformed { reason: String },
    #[error(
        "not a policy: it imports {import}, and policies import no function at all; build for wasm32-unknown-unknown or stub WASI out"
    )]
    Imports { import: String },
    #[error(
        "the policy is made for polder:policy@{found}, and this host takes polder:policy@{CONTRACT_VERSION}; build it against that version"
    )]
    OtherVersion { found: String },
    #[error(
        "not a policy: of polder:policy@{CONTRACT_VERSION} it exports neither placer nor aggregator nor releaser, but {exports}"
    )]
    OtherWorld { exports: String },
    #[error("not one policy but two: it exports a {first} and a {second} world; build a component for each")]
    TwoWorlds { first: PolicyKind, second: PolicyKind },
    #[error(
        "not a policy: it says that it is made for polder:policy@{CONTRACT_VERSION}, but its functions have other types: {reason}"
    )]
    OtherTypes { reason: String },
}

/// What is wrong with an answer's form.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Nonsense {
    /// The canonical ABI could not read it: a list or string outside its memory, text that is no UTF-8, an unknown variant.
    #[error("it cannot be read: {reason}")]
    Unreadable { reason: String },
    #[error("{what} {index} is named, and there are {count}")]
    OutOfRange { what: &'static str, index: u32, count: usize },
    #[error("GPU {gpu} is named, which worker {worker} does not have")]
    NoSuchGpu { worker: String, gpu: u32 },
    #[error("{count} {what} are named, and there are at most {limit}")]
    TooMany { what: &'static str, count: usize, limit: usize },
    #[error("its state has {bytes} bytes, and at most {STATE_BYTES_MAX} are kept")]
    State { bytes: usize },
    #[error("its memo has {bytes} bytes, and at most {MEMO_BYTES_MAX} are taken")]
    Memo { bytes: usize },
    #[error("it holds {found} weights for {updates} updates")]
    WeightCount { found: usize, updates: usize },
    #[error("weight {index} is {weight}; weights are finite and not negative")]
    Weight { index: usize, weight: f32 },
    #[error("all {count} weights are 0, which leaves no update to aggregate")]
    AllZero { count: usize },
    #[error("it wants {count} weighted sums beside the aggregate, and there are at most {EXTRA_WEIGHTS_MAX}")]
    ExtraSums { count: usize },
    #[error("it wants weighted sums beside the aggregate, which only a step can use, and describes none")]
    ExtraSumsWithoutStep,
    #[error("list {list} of its extra weights holds {found} for {updates} updates")]
    ExtraWeightCount { list: usize, found: usize, updates: usize },
    #[error("extra weight {index} of list {list} is {weight}; extra weights are finite")]
    ExtraWeight { list: usize, index: usize, weight: f32 },
    #[error("it holds {found} notes for {updates} updates; there may be one each, or none at all")]
    NoteCount { found: usize, updates: usize },
    /// Said by `cases`; in service, the scheduler finds this out.
    #[error("{reason}")]
    Seats { reason: String },
    /// What `describe` says contradicts itself or the contract.
    #[error("it describes itself in a way that cannot be: {0}")]
    Traits(#[from] ImpossibleTraits),
    #[error("clip is {value}; the norm to scale down to is finite and above 0")]
    Clip { value: f64 },
    #[error("noise is {value}; a standard deviation is finite and not negative")]
    Noise { value: f64 },
    /// What came back for a chunk is not as long as what went in.
    #[error("its {what} for a chunk of {expected} values has {found}")]
    ChunkLength { what: &'static str, found: usize, expected: usize },
    #[error("it gives back {found} state tensors of {expected}")]
    StateTensors { found: usize, expected: usize },
}

/// What an aggregation policy cannot be.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ImpossibleTraits {
    #[error("updates-min is 0, and at least one update makes a round")]
    NoUpdates,
    #[error("it wants statistics over whole updates, and its shape is sums, which sees none")]
    StatisticsForSums,
    #[error("it wants {count} state tensors, and there are at most {STATE_TENSORS_MAX}")]
    StateTensors { count: u32 },
    #[error("it wants state tensors, which only a step can change, and has none")]
    StateWithoutStep,
    #[error("proximal-mu is {value}; it is 0 to {STRENGTH_MAX}")]
    ProximalMu { value: f64 },
    #[error("its control variates are state tensor {index}, and it has {count}")]
    ControlVariates { index: u32, count: u32 },
    #[error("the dynamic regularizer's alpha is {value}; it is above 0 and up to {STRENGTH_MAX}")]
    Alpha { value: f64 },
}
