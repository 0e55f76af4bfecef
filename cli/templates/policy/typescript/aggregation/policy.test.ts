import assert from "node:assert/strict";
import { test } from "node:test";

import type { Question } from "./polder/aggregation.js";
import { aggregator } from "./policy.js";

function question(...examples: bigint[]): Question {
  const updates = examples.map((examples) => ({ examples, staleness: 0 }));
  const statistics = { norms: [], products: [] };
  const state = new Uint8Array();
  const population = updates.length;
  return { round: 1, seed: 0n, modelParameters: 0n, tensors: [], population, updates, statistics, state };
}

test("weights are shares of the examples", () => {
  assert.deepEqual([...aggregator.weigh(question(100n, 300n), "{}").weights], [0.25, 0.75]);
});

test("nothing to weigh is said", () => {
  assert.throws(() => aggregator.weigh(question(0n, 0n), "{}"), { tag: "question" });
});

test("unknown parameters are refused", () => {
  assert.throws(() => aggregator.describe('{"trim": 1}'), { tag: "parameters" });
});
