import assert from "node:assert/strict";
import { test } from "node:test";

import type { Demand, Question, Worker } from "./polder/placement.js";
import { placer } from "./policy.js";

function worker(name: string, slots: number, slotsFree: number): Worker {
  const load = { cpuUtilization: 0, memoryFreeBytes: 1n << 30n, gpus: [] };
  return { name, region: "eu-west", slots, slotsFree, roundsAssigned: 0n, load };
}

function question(...demands: Demand[]): Question {
  const workers = [worker("a", 2, 1), worker("b", 4, 4), worker("c", 2, 2)];
  return { seed: 0n, demands, workers, state: new Uint8Array() };
}

test("the freest workers come first", () => {
  const demand = { run: "digits", round: 1, seats: 2, seatsMin: 1, candidates: [0, 1, 2] };
  const answer = placer.place(question(demand), "{}");
  assert.deepEqual(answer.assignments.map((seat) => seat.worker), [1, 2]);
});

test("slots given away are gone", () => {
  const demand = { run: "digits", round: 1, seats: 1, seatsMin: 1, candidates: [0] };
  const answer = placer.place(question(demand, demand), "{}");
  assert.deepEqual(answer.assignments.map((seat) => seat.demand), [0]);
  assert.deepEqual(answer.declined.map((no) => no.demand), [1]);
});

test("unknown parameters are refused", () => {
  assert.throws(() => placer.check('{"seats": 1}'), { tag: "parameters" });
});
