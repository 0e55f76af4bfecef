//! RPC × role: who may call what. The whole of it is [`TABLE`]; what is not in it nobody may call.

use std::fmt;

use polder_core::{Region, WorkerName};

use crate::identity::{Identity, OperatorName};

/// Whom an RPC is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A worker, by its certificate.
    Worker,
    /// An operator, by its certificate.
    Operator,
    /// A newcomer without a certificate, which came in by the enrolment protocol.
    Newcomer,
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The RPC's path in HTTP/2, as gRPC forms it.
    pub path: &'static str,
    pub role: Role,
}

const fn allow(role: Role, path: &'static str) -> Rule {
    Rule { path, role }
}

/// Every RPC that there is, once, with the one role that may call it.
pub const TABLE: &[Rule] = &[
    allow(Role::Newcomer, "/polder.v1.EnrolmentService/Enrol"),
    allow(Role::Worker, "/polder.v1.WorkerService/Session"),
    allow(Role::Worker, "/polder.v1.WorkerService/FetchModel"),
    allow(Role::Worker, "/polder.v1.WorkerService/UploadStatus"),
    allow(Role::Worker, "/polder.v1.WorkerService/UploadUpdate"),
    allow(Role::Worker, "/polder.v1.WorkerService/RenewCertificate"),
    allow(Role::Operator, "/polder.v1.OperatorService/SubmitRun"),
    allow(Role::Operator, "/polder.v1.OperatorService/ListRuns"),
    allow(Role::Operator, "/polder.v1.OperatorService/GetRun"),
    allow(Role::Operator, "/polder.v1.OperatorService/GetRound"),
    allow(Role::Operator, "/polder.v1.OperatorService/WatchRun"),
    allow(Role::Operator, "/polder.v1.OperatorService/StopRun"),
    allow(Role::Operator, "/polder.v1.OperatorService/ListWorkers"),
    allow(Role::Operator, "/polder.v1.OperatorService/DrainWorker"),
    allow(Role::Operator, "/polder.v1.OperatorService/ListPolicies"),
    allow(Role::Operator, "/polder.v1.OperatorService/PushPolicy"),
    allow(Role::Operator, "/polder.v1.OperatorService/GetPolicy"),
    allow(Role::Operator, "/polder.v1.OperatorService/PullPolicy"),
    allow(Role::Operator, "/polder.v1.OperatorService/RemovePolicy"),
    allow(Role::Operator, "/polder.v1.OperatorService/SetPolicies"),
    allow(Role::Operator, "/polder.v1.OperatorService/ListModels"),
    allow(Role::Operator, "/polder.v1.OperatorService/PullModel"),
    allow(Role::Operator, "/polder.v1.OperatorService/UploadModel"),
    allow(Role::Operator, "/polder.v1.OperatorService/CreateToken"),
    allow(Role::Operator, "/polder.v1.OperatorService/GetCoordinator"),
];

/// Proof that [`authorize`] said yes: there is no other way to get one. Handlers take it and read the caller from it,
/// never from a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    path: &'static str,
    caller: Option<Identity>,
}

impl Permit {
    /// The RPC that may be called.
    #[must_use]
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// Who calls; None for a newcomer.
    #[must_use]
    pub fn caller(&self) -> Option<&Identity> {
        self.caller.as_ref()
    }

    /// The worker that calls, if it is one.
    #[must_use]
    pub fn worker(&self) -> Option<(&WorkerName, &Region)> {
        match &self.caller {
            Some(Identity::Worker { name, region }) => Some((name, region)),
            _ => None,
        }
    }

    /// The operator that calls, if it is one.
    #[must_use]
    pub fn operator(&self) -> Option<&OperatorName> {
        match &self.caller {
            Some(Identity::Operator { name }) => Some(name),
            _ => None,
        }
    }
}

/// Why a call is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{caller} may not call `{path}`: {why}")]
pub struct Denied {
    caller: Caller,
    path: String,
    why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Caller(Option<Identity>);

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(identity) => identity.fmt(f),
            None => f.write_str("a newcomer without a certificate"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    UnknownRpc,
    For(Role),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownRpc => "there is no such RPC",
            Self::For(Role::Worker) => "it is for workers",
            Self::For(Role::Operator) => "it is for operators",
            Self::For(Role::Newcomer) => "it is for newcomers, which have no certificate yet",
        })
    }
}

/// Looks `path` up for a caller: the identity of its connection, or none for one that came in by the enrolment
/// protocol.
pub fn authorize(path: &str, caller: Option<&Identity>) -> Result<Permit, Denied> {
    let denied = |why| Denied { caller: Caller(caller.cloned()), path: path.chars().take(100).collect(), why };
    let rule = TABLE.iter().find(|rule| rule.path == path).ok_or_else(|| denied(Why::UnknownRpc))?;
    let allowed = match (rule.role, caller) {
        (Role::Worker, Some(Identity::Worker { .. })) => true,
        (Role::Operator, Some(Identity::Operator { .. })) => true,
        (Role::Newcomer, None) => true,
        (Role::Worker | Role::Operator | Role::Newcomer, _) => false,
    };
    if !allowed {
        return Err(denied(Why::For(rule.role)));
    }
    Ok(Permit { path: rule.path, caller: caller.cloned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{operator, worker};

    #[test]
    fn each_rpc_is_listed_once() {
        for (index, rule) in TABLE.iter().enumerate() {
            assert!(TABLE[..index].iter().all(|earlier| earlier.path != rule.path), "{} is listed twice", rule.path);
        }
    }

    #[test]
    fn every_rpc_lets_in_its_role_and_no_other() {
        let worker = worker("eu-west", "w1");
        let operator = operator("ada");
        let callers = [
            (Some(Role::Worker), Some(&worker)),
            (Some(Role::Operator), Some(&operator)),
            (Some(Role::Newcomer), None),
            (None, Some(&Identity::Coordinator)),
        ];
        for rule in TABLE {
            for (role, caller) in callers {
                match authorize(rule.path, caller) {
                    Ok(permit) => {
                        assert_eq!(role, Some(rule.role), "{} let in {caller:?}", rule.path);
                        assert_eq!((permit.path(), permit.caller()), (rule.path, caller));
                    }
                    Err(denied) => assert_ne!(role, Some(rule.role), "{denied}"),
                }
            }
        }
    }

    #[test]
    fn what_is_not_listed_is_denied() {
        for path in [
            "",
            "/",
            "/polder.v1.OperatorService/",
            "/polder.v1.OperatorService/Shutdown",
            "/polder.v1.operatorservice/GetRun",
            "/polder.v1.OperatorService/GetRun/",
            "//polder.v1.OperatorService/GetRun",
            "/polder.v1.OperatorService/GetRun?x",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        ] {
            for caller in [None, Some(&worker("eu-west", "w1")), Some(&operator("ada")), Some(&Identity::Coordinator)] {
                assert!(authorize(path, caller).is_err(), "{path} was allowed to {caller:?}");
            }
        }
    }

    #[test]
    fn a_denial_says_who_what_and_why() {
        let denied = authorize("/polder.v1.OperatorService/StopRun", Some(&worker("eu-west", "w1"))).unwrap_err();
        assert_eq!(
            denied.to_string(),
            "worker `w1` of region `eu-west` may not call `/polder.v1.OperatorService/StopRun`: it is for operators"
        );
        let denied = authorize("/polder.v1.WorkerService/Session", None).unwrap_err();
        assert_eq!(
            denied.to_string(),
            "a newcomer without a certificate may not call `/polder.v1.WorkerService/Session`: it is for workers"
        );
        let denied = authorize(&"x".repeat(10_000), None).unwrap_err().to_string();
        assert!(denied.len() < 200 && denied.ends_with("there is no such RPC"), "{denied}");
    }

    #[test]
    fn a_permit_names_its_caller() {
        let permit = authorize("/polder.v1.WorkerService/UploadUpdate", Some(&worker("eu-west", "w1"))).unwrap();
        let (name, region) = permit.worker().unwrap();
        assert_eq!((name.as_str(), region.as_str(), permit.operator()), ("w1", "eu-west", None));
        let permit = authorize("/polder.v1.OperatorService/GetRun", Some(&operator("ada"))).unwrap();
        assert_eq!((permit.operator().unwrap().as_str(), permit.worker()), ("ada", None));
    }
}
