// {{name}}: a release policy. Updates leave no longer than an L2 norm, and not at all if too few examples are behind them.

import type { Answer, Question, Releaser } from "./polder/release.js";
import { figure, readParameters, unsigned } from "./polder/types.js";

const NORM_MAX = 10;
const EXAMPLES_MIN = 10n;

export const releaser: Releaser = {
  check(parameters) {
    readParameters(parameters, {});
  },

  review(question, parameters) {
    readParameters(parameters, {});
    return clipped(question);
  },
};

function clipped({ update }: Question): Answer {
  const state = new Uint8Array();
  const examples = unsigned(update.examples);
  if (examples < EXAMPLES_MIN) {
    const reason = `${examples} examples are too few to hide one; this region wants ${EXAMPLES_MIN}`;
    return { verdict: { tag: "withhold" }, state, reason };
  }
  const reason = `norm ${figure(update.norm)}, of which at most ${NORM_MAX} leaves`;
  return { verdict: { tag: "release", val: { clip: NORM_MAX, precision: "float32" } }, state, reason };
}
