// {{name}}: a placement policy. The workers with the most free slots first; among equals, in name order.

import type { Answer, Placer, Question } from "./polder/placement.js";
import { readParameters } from "./polder/types.js";

export const placer: Placer = {
  check(parameters) {
    readParameters(parameters, {});
  },

  place(question, parameters) {
    readParameters(parameters, {});
    return freestFirst(question);
  },
};

function freestFirst(question: Question): Answer {
  const answer: Answer = { assignments: [], declined: [], state: new Uint8Array() };
  // seats that this answer gives away are gone for the demands after it
  const slotsFree = question.workers.map((worker) => worker.slotsFree);
  question.demands.forEach((demand, index) => {
    const open = demand.candidates.filter((worker) => slotsFree[worker] > 0);
    if (open.length === 0 || open.length < demand.seatsMin) {
      const reason = `the round needs ${demand.seatsMin} workers, and ${open.length} have a free slot`;
      answer.declined.push({ demand: index, reason });
      return;
    }
    open.sort((a, b) => slotsFree[b] - slotsFree[a] || a - b);
    for (const worker of open.slice(0, demand.seats)) {
      const reason = `${slotsFree[worker]} of ${question.workers[worker].slots} slots free`;
      answer.assignments.push({ demand: index, worker, reason });
      slotsFree[worker] -= 1;
    }
  });
  return answer;
}
