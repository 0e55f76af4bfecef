//! What the contract asks of every policy, tried on one.

mod chunks;

use polder_core::policy::{
    AggregationQuestion, AggregationTraits, PlacementQuestion, PolicyKind, ReleaseQuestion, tidy_reason,
};
use serde_json::{Map, Value};

use super::generated::{self, Figures};
use super::seats;
use crate::{Nonsense, Policy, PolicyError, PolicyHost, Usage};

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub name: &'static str,
    pub passed: bool,
    /// What was found, in a sentence.
    pub detail: String,
    /// What the slowest question took.
    pub usage: Usage,
}

/// What was found, or why it is not as it should be.
type Found = Result<String, String>;

/// A host, a policy on it, parameters that it should take, and what its answers took.
struct Trial<'a> {
    host: &'a PolicyHost,
    policy: &'a Policy,
    parameters: &'a str,
    checks: Vec<Check>,
    usage: Usage,
}

/// Tries a loaded policy. `parameters` is a JSON object that it should take: those of its cases, or `{}`.
///
/// What cannot be tried is left out: without parameters that the policy takes, everything but the parameters themselves.
#[must_use]
pub fn contract_checks(host: &PolicyHost, policy: &Policy, parameters: &str) -> Vec<Check> {
    let mut trial = Trial { host, policy, parameters, checks: Vec::new(), usage: Usage::default() };
    trial.check("loads", |trial| {
        let fresh = trial.host.fresh(trial.policy).map_err(|error| error.to_string())?;
        trial.uses(fresh.question.usage());
        Ok(format!("a {} policy of {} bytes", trial.policy.kind(), trial.policy.component_bytes()))
    });
    // loading refuses anything else, with the name of the function
    trial.check("imports no function", |_| Ok("none".into()));
    trial.check("takes no parameters, or says which it wants", Trial::no_parameters);
    trial.check("takes the parameters given", |trial| {
        trial.host.check_parameters(trial.policy, trial.parameters).map_err(|error| error.to_string())?;
        Ok(trial.parameters.into())
    });
    if !trial.checks.last().is_some_and(|check| check.passed) {
        return trial.checks;
    }
    trial.check("refuses parameters that are no JSON", |trial| trial.refuses("{\"", None));
    trial.check("refuses a parameter that it does not know", Trial::unknown_parameter);
    trial.check("answers questions, small ones first", |trial| trial.questions(Figures::Usual));
    trial.check("copes with the largest figures there are", |trial| trial.questions(Figures::Huge));
    trial.check("copes with zeros and with what is missing", |trial| trial.questions(Figures::Least));
    trial.check("answers the same question with the same bytes", Trial::same_answer);
    trial.check("takes its own state back", Trial::own_state);
    if policy.kind() == PolicyKind::Aggregation {
        chunks::check(&mut trial);
    }
    trial.checks
}

impl Trial<'_> {
    fn check(&mut self, name: &'static str, run: impl FnOnce(&mut Self) -> Found) {
        self.usage = Usage::default();
        let found = run(self);
        let passed = found.is_ok();
        let detail = found.unwrap_or_else(|wrong| wrong);
        self.checks.push(Check { name, passed, detail: tidy_reason(&detail), usage: self.usage });
    }

    fn uses(&mut self, usage: Usage) {
        self.usage.micros = self.usage.micros.max(usage.micros);
        self.usage.memory_bytes = self.usage.memory_bytes.max(usage.memory_bytes);
    }

    fn no_parameters(&mut self) -> Found {
        match self.host.check_parameters(self.policy, "{}") {
            Ok(()) => Ok("{} is taken".into()),
            Err(PolicyError::Parameters { message }) if !message.trim().is_empty() => Ok(message),
            Err(PolicyError::Parameters { .. }) => Err("it refuses {} and does not say why".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn refuses(&mut self, parameters: &str, words: Option<&str>) -> Found {
        match self.host.check_parameters(self.policy, parameters) {
            Ok(()) => Err(format!("it takes {parameters}")),
            Err(PolicyError::Parameters { message }) => match words {
                Some(words) if !message.contains(words) => Err(format!("its refusal does not name {words}: {message}")),
                _ => Ok(message),
            },
            Err(error) => Err(error.to_string()),
        }
    }

    fn unknown_parameter(&mut self) -> Found {
        const KEY: &str = "no_policy_has_this";
        let mut parameters: Map<String, Value> = serde_json::from_str(self.parameters).unwrap_or_default();
        parameters.insert(KEY.into(), Value::Bool(true));
        self.refuses(&Value::Object(parameters).to_string(), Some(KEY))
    }

    fn traits(&self) -> AggregationTraits {
        self.host.describe(self.policy, self.parameters).unwrap_or_default()
    }

    /// How many workers or updates a small, a usual and a large question has.
    fn sizes(&self) -> [usize; 3] {
        let least = match self.policy.kind() {
            PolicyKind::Aggregation => self.traits().updates_min as usize,
            PolicyKind::Placement => 0,
            PolicyKind::Release => 1,
        };
        [least, least.max(5), least.max(100)]
    }

    /// Asks a made-up question, in which `state` is what an answer before returned. The answer as text, and the state it returns.
    fn ask(&mut self, size: usize, figures: Figures, state: Vec<u8>) -> Result<(String, Vec<u8>), PolicyError> {
        let (host, policy, parameters) = (self.host, self.policy, self.parameters);
        match policy.kind() {
            PolicyKind::Aggregation => {
                let question = generated::aggregation(size, figures, &self.traits());
                let (plan, usage) =
                    host.weigh_measured(policy, parameters, &AggregationQuestion { state, ..question })?;
                self.uses(usage);
                Ok((format!("{plan:?}"), plan.state))
            }
            PolicyKind::Placement => {
                let question = PlacementQuestion { state, ..generated::placement(size, figures) };
                let (answer, usage) = host.place_measured(policy, parameters, &question)?;
                self.uses(usage);
                seats::check(&question, &answer).map_err(|reason| PolicyError::Nonsense(Nonsense::Seats { reason }))?;
                Ok((format!("{answer:?}"), answer.state))
            }
            PolicyKind::Release => {
                let question = ReleaseQuestion { state, ..generated::release(size, figures) };
                let (answer, usage) = host.review_measured(policy, parameters, &question)?;
                self.uses(usage);
                Ok((format!("{answer:?}"), answer.state))
            }
        }
    }

    /// Every size of question must be answered, or refused by the policy in its own words.
    fn questions(&mut self, figures: Figures) -> Found {
        let mut refused = None;
        for size in self.sizes() {
            match self.ask(size, figures, Vec::new()) {
                Ok(_) => {}
                Err(PolicyError::Refused { message }) => refused = Some(format!("of {size}: {message}")),
                Err(error) => return Err(format!("of {size}: {error}")),
            }
        }
        match refused {
            Some(no) if figures == Figures::Usual => Err(format!("it has no answer to an ordinary question {no}")),
            Some(no) => Ok(format!("it refuses {no}")),
            None => Ok(format!("of {:?} {}", self.sizes(), self.of_what())),
        }
    }

    fn of_what(&self) -> &'static str {
        match self.policy.kind() {
            PolicyKind::Aggregation => "updates",
            PolicyKind::Placement | PolicyKind::Release => "workers",
        }
    }

    fn same_answer(&mut self) -> Found {
        if self.policy.kind() == PolicyKind::Aggregation {
            // `describe` remembers, so that everything else rests on one description
            let (again, usage) =
                self.host.describe_measured(self.policy, self.parameters).map_err(|error| error.to_string())?;
            self.uses(usage);
            if again != self.traits() {
                return Err("asked twice, it describes itself differently".into());
            }
        }
        for size in self.sizes() {
            let first = self.ask(size, Figures::Usual, Vec::new()).map_err(|error| error.to_string())?;
            let second = self.ask(size, Figures::Usual, Vec::new()).map_err(|error| error.to_string())?;
            if first != second {
                return Err(format!("asked twice about {size} {}, it answers differently", self.of_what()));
            }
        }
        Ok("asked twice, it answers the same".into())
    }

    fn own_state(&mut self) -> Found {
        let size = self.sizes()[1];
        let mut state = Vec::new();
        for _ in 0..3 {
            (_, state) = self.ask(size, Figures::Usual, state).map_err(|error| error.to_string())?;
        }
        Ok(format!("{} bytes after three questions", state.len()))
    }
}
