//! Rounds as users are shown them: from memory, or from the archive once the run has forgotten them.

use polder_core::federation::Refusal;
use polder_core::round::Round;
use polder_core::view::RoundView;
use polder_core::{Federation, RoundNumber, RunId};
use polder_proto::{refused, unwelcome};
use tonic::{Code, Status};

use super::internal;
use crate::api::Services;

pub(super) async fn view(services: &Services, id: RunId, number: RoundNumber) -> Result<RoundView, Status> {
    let run = id.clone();
    let found = services.handle.ask(move |federation| {
        let known = federation.runs.get(&run).ok_or_else(|| Refusal::UnknownRun { run: run.clone() })?;
        match known.round(number) {
            Some(round) => Ok(Some(RoundView::of(known, round, federation))),
            None if known.has_forgotten(number) => Ok(None),
            None => Err(Refusal::UnknownRound { run, round: number }),
        }
    });
    let found = found.await?.map_err(|refusal: Refusal| refused(&refusal))?;
    match found {
        Some(view) => Ok(view),
        None => archived(services, id, number).await,
    }
}

async fn archived(services: &Services, id: RunId, number: RoundNumber) -> Result<RoundView, Status> {
    let record = services.store.archived_round(&id, number).await.map_err(internal)?;
    let Some(record) = record else {
        let text = format!(
            "round {number} of run `{id}` is no longer kept: the coordinator keeps each run's last rounds (`--retain-rounds`)"
        );
        return Err(unwelcome(Code::NotFound, "round_pruned", text));
    };
    let round: Round = serde_json::from_str(&record).map_err(internal)?;
    let view = services
        .handle
        .ask(move |federation: &Federation| federation.runs.get(&id).map(|run| RoundView::of(run, &round, federation)));
    view.await?.ok_or_else(|| Status::internal("a run that was there a moment ago is gone"))
}
