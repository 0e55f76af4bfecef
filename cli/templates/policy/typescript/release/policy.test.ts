import assert from "node:assert/strict";
import { test } from "node:test";

import type { Question } from "./polder/release.js";
import { releaser } from "./policy.js";

function question(examples: bigint): Question {
  const update = { parameters: 650n, examples, norm: 12.5, maxNorm: 0.75 };
  const context = { run: "digits", round: 1, region: "eu-west", aggregation: "fedavg@0.2.0", cohort: 3, quorum: 2 };
  return { seed: 0n, update, context, budget: { released: 0n, withheld: 0n }, state: new Uint8Array() };
}

test("updates are clipped", () => {
  const { verdict } = releaser.review(question(100n), "{}");
  assert.deepEqual(verdict, { tag: "release", val: { clip: 10, precision: "float32" } });
});

test("few examples stay", () => {
  assert.deepEqual(releaser.review(question(9n), "{}").verdict, { tag: "withhold" });
});

test("unknown parameters are refused", () => {
  assert.throws(() => releaser.check('{"norm": 1}'), { tag: "parameters" });
});
