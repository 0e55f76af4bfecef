//! One file a command. Each has its arguments and `perform`; results go to [`Context::output`], talk to stderr.

pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod coordinator;
pub(crate) mod demo;
pub(crate) mod login;
pub(crate) mod model;
pub(crate) mod policy;
pub(crate) mod restore;
pub(crate) mod round;
pub(crate) mod run;
pub(crate) mod sim;
pub(crate) mod token;
pub(crate) mod worker;

use crate::args::{Cli, Command, Context};

/// Performs what the command line says.
pub(crate) async fn perform(cli: Cli) -> anyhow::Result<()> {
    let context = Context::new(cli.globals);
    match cli.command {
        Command::Bench(verb) => match verb {
            bench::Verb::Round(round) => round.perform(&context).await,
            bench::Verb::Fanin(fanin) => fanin.perform(&context).await,
            bench::Verb::Large(large) => large.perform(&context).await,
            bench::Verb::Soak(soak) => soak.perform(&context).await,
            bench::Verb::Aggregation(aggregation) => aggregation.perform(&context).await,
        },
        Command::Demo(demo) => demo.perform(&context).await,
        Command::Sim(sim) => sim.perform(&context),
        Command::Coordinator(coordinator::Verb::Start(start)) => start.perform(&context).await,
        Command::Coordinator(coordinator::Verb::Show(show)) => show.perform(&context).await,
        Command::Coordinator(coordinator::Verb::Verify(verify)) => verify.perform(&context).await,
        Command::Backup(backup) => backup.perform(&context).await,
        Command::Restore(restore) => restore.perform(&context).await,
        Command::Token(token::Verb::Create(create)) => create.perform(&context).await,
        Command::Login(login) => login.perform(&context).await,
        Command::Worker(verb) => match verb {
            worker::Verb::Start(start) => start.perform(&context).await,
            worker::Verb::List(list) => list.perform(&context).await,
            worker::Verb::Drain(drain) => drain.perform(&context).await,
        },
        Command::Run(verb) => match verb {
            run::Verb::Submit(submit) => submit.perform(&context).await,
            run::Verb::List(list) => list.perform(&context).await,
            run::Verb::Show(show) => show.perform(&context).await,
            run::Verb::Watch(watch) => watch.perform(&context).await,
            run::Verb::Log(log) => log.perform(&context).await,
            run::Verb::SetPolicy(set) => set.perform(&context).await,
            run::Verb::Stop(stop) => stop.perform(&context).await,
        },
        Command::Round(round::Verb::Show(show)) => show.perform(&context).await,
        Command::Policy(verb) => match verb {
            policy::Verb::New(new) => new.perform(&context),
            policy::Verb::Test(test) => test.perform(&context),
            policy::Verb::Push(push) => push.perform(&context).await,
            policy::Verb::List(list) => list.perform(&context).await,
            policy::Verb::Show(show) => show.perform(&context).await,
            policy::Verb::Pull(pull) => pull.perform(&context).await,
            policy::Verb::Rm(rm) => rm.perform(&context).await,
        },
        // Ended before there was a runtime.
        Command::PolicyCompiler => Ok(()),
        Command::Model(model::Verb::List(list)) => list.perform(&context).await,
        Command::Model(model::Verb::Pull(pull)) => pull.perform(&context).await,
    }
}
