// {{name}}: an aggregation policy. The mean of the updates, weighted by their training examples.

import type { Aggregator, Plan, Question } from "./polder/aggregation.js";
import { Refusal, readParameters, unsigned } from "./polder/types.js";

export const aggregator: Aggregator = {
  describe(parameters) {
    readParameters(parameters, {});
    return {
      shape: "sums",
      statistics: {},
      updatesMin: 1,
      hasStep: false,
      stateTensors: 0,
      training: { baseLoss: false },
    };
  },

  weigh(question, parameters) {
    readParameters(parameters, {});
    return mean(question);
  },

  combine() {
    throw Refusal.question("this policy combines nothing");
  },

  step() {
    throw Refusal.question("this policy has no step");
  },
};

function mean(question: Question): Plan {
  const examples = question.updates.map((update) => Number(unsigned(update.examples)));
  const total = examples.reduce((sum, count) => sum + count, 0);
  if (total === 0) {
    throw Refusal.question("no update reports a training example");
  }
  return {
    weights: Float32Array.from(examples, (count) => count / total),
    extraWeights: [],
    memo: new Uint8Array(),
    state: new Uint8Array(),
    notes: [],
    reason: `the mean of ${examples.length} updates, weighted by their ${total} training examples`,
  };
}
