// Tiers: rounds of workers that are about as fast as each other, so that nobody waits for the slowest.
//
// After Z. Chai et al.: TiFL: A Tier-based Federated Learning System, HPDC 2020: workers are sorted by how long their updates take and cut
// into tiers of one size; every round draws a tier at random and seats its workers, the fastest first, then those of the
// nearest tiers. A worker that never sent an update counts as the fastest, so that it is measured.
//
// Parameters: tiers (3, at least 1).

import type { Answer, Demand, Placer, Question, Worker } from "./polder/placement.js";
import { Refusal, type U64, figure, readParameters, unsigned } from "./polder/types.js";

export const placer: Placer = {
  check(parameters) {
    readTiers(parameters);
  },

  place(question, parameters) {
    return place(question, readTiers(parameters));
  },
};

function readTiers(parameters: string): number {
  const { tiers } = readParameters(parameters, { tiers: 3 });
  if (!Number.isInteger(tiers) || tiers < 1) {
    throw Refusal.parameters(`tiers is ${tiers}; it must be a whole number, at least 1`);
  }
  return tiers;
}

function place(question: Question, tiers: number): Answer {
  const answer: Answer = { assignments: [], declined: [], state: new Uint8Array() };
  const slotsFree = question.workers.map((worker) => worker.slotsFree);
  question.demands.forEach((demand, index) => {
    const open = demand.candidates.filter((worker) => slotsFree[worker] > 0);
    if (open.length === 0 || open.length < demand.seatsMin) {
      const reason = `the round needs ${demand.seatsMin} workers, and ${open.length} have a free slot`;
      answer.declined.push({ demand: index, reason });
      return;
    }
    for (const { worker, tier } of inOrder(question, demand, open, tiers)) {
      const reason = `tier ${tier + 1} of ${tiers}: ${latency(question.workers[worker])}`;
      answer.assignments.push({ demand: index, worker, reason });
      slotsFree[worker] -= 1;
    }
  });
  return answer;
}

/** The seated workers of one demand, each with its tier. */
function inOrder(question: Question, demand: Demand, open: number[], tiers: number): { worker: number; tier: number }[] {
  const milliseconds = (worker: number) => question.workers[worker].latencyMs ?? 0;
  const byLatency = open.toSorted((a, b) => milliseconds(a) - milliseconds(b) || a - b);
  const tiered = byLatency.map((worker, rank) => ({ worker, tier: Math.floor((rank * tiers) / open.length) }));
  const drawn = tiered[drawBelow(question.seed, demand.round, open.length)].tier;
  const distance = ({ tier }: { tier: number }) => Math.abs(tier - drawn);
  return tiered.sort((a, b) => distance(a) - distance(b)).slice(0, demand.seats);
}

/** A number from 0 to `count` - 1 that follows from the seed: one step of SplitMix64. */
function drawBelow(seed: U64, round: number, count: number): number {
  const bits = (value: bigint) => BigInt.asUintN(64, value);
  let mixed = bits(unsigned(seed) + BigInt(round) * 0x9e3779b97f4a7c15n);
  mixed = bits((mixed ^ (mixed >> 30n)) * 0xbf58476d1ce4e5b9n);
  mixed = bits((mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn);
  mixed ^= mixed >> 31n;
  return Number(mixed % BigInt(count));
}

function latency(worker: Worker): string {
  return worker.latencyMs == null ? "no update yet" : `${figure(worker.latencyMs)} ms an update`;
}
