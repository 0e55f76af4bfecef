// The types of the world `release`; what each field means is in wit/release.wit. What is missing comes as null and may be
// returned as null or left out.

import type { U64 } from "./types.js";

export interface Releaser {
  /** Throws a Refusal for parameters that are not this policy's. */
  check(parameters: string): void;
  review(question: Question, parameters: string): Answer;
}

export interface Question {
  seed: U64;
  update: Update;
  context: Context;
  budget: { released: U64; withheld: U64 };
  state: Uint8Array;
}

export interface Update {
  parameters: U64;
  examples: U64;
  loss?: number | null;
  steps?: U64 | null;
  norm: number;
  maxNorm: number;
}

export interface Context {
  run: string;
  round: number;
  region: string;
  aggregation: string;
  cohort: number;
  quorum: number;
}

export interface Answer {
  verdict: { tag: "release"; val: Treatment } | { tag: "withhold" };
  state: Uint8Array;
  reason: string;
}

export interface Treatment {
  clip?: number | null;
  noise?: number | null;
  precision: "float32" | "float16" | "bfloat16";
}
