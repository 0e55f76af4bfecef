// The types of the world `aggregation`; what each field means is in wit/aggregation.wit. What is missing comes as null and may be
// returned as null or left out.

import type { U64 } from "./types.js";

export interface Aggregator {
  /** Throws a Refusal for parameters that are not this policy's. */
  describe(parameters: string): Traits;
  weigh(question: Question, parameters: string): Plan;
  /** Only called for the shape `columns`; costs about 140 ns a value in JavaScript. */
  combine(chunk: Chunk, rows: Float32Array[], weights: Float32Array, parameters: string): Float32Array;
  /** Only called where `hasStep` is true. */
  step(
    chunk: Chunk,
    model: Float32Array,
    aggregate: Float32Array,
    extra: Float32Array[],
    state: Float32Array[],
    parameters: string,
  ): Stepped;
}

export interface Traits {
  shape: "sums" | "columns" | "geometry";
  statistics: { norms?: boolean; products?: boolean };
  updatesMin: number;
  hasStep: boolean;
  stateTensors: number;
  training: Training;
}

export interface Training {
  proximalMu?: number | null;
  correction?: { tag: "control-variates"; val: number } | { tag: "dynamic-regularizer"; val: number };
  baseLoss: boolean;
}

export interface Question {
  round: number;
  seed: U64;
  modelParameters: U64;
  tensors: { name: string; shape: U64[] }[];
  population: number;
  updates: Update[];
  statistics: { norms: number[]; products: number[] };
  state: Uint8Array;
}

export interface Update {
  examples: U64;
  loss?: number | null;
  baseLoss?: number | null;
  staleness: number;
  steps?: U64 | null;
  normalizer?: number | null;
  learningRate?: number | null;
}

export interface Plan {
  weights: Float32Array;
  extraWeights: Float32Array[];
  memo: Uint8Array;
  state: Uint8Array;
  notes: string[];
  reason: string;
}

export interface Chunk {
  round: number;
  seed: U64;
  tensor: number;
  offset: U64;
  memo: Uint8Array;
}

export interface Stepped {
  model: Float32Array;
  state: Float32Array[];
}
