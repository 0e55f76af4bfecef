// The types of the world `placement`; what each field means is in wit/placement.wit. What is missing comes as null and may be
// returned as null or left out.

import type { U64 } from "./types.js";

export interface Placer {
  /** Throws a Refusal for parameters that are not this policy's. */
  check(parameters: string): void;
  place(question: Question, parameters: string): Answer;
}

export interface Question {
  seed: U64;
  demands: Demand[];
  workers: Worker[];
  state: Uint8Array;
}

export interface Demand {
  run: string;
  round: number;
  seats: number;
  seatsMin: number;
  /** Indices into `workers`, ascending. */
  candidates: number[];
}

export interface Worker {
  name: string;
  region: string;
  slots: number;
  slotsFree: number;
  roundsAssigned: U64;
  latencyMs?: number | null;
  load: Load;
}

export interface Load {
  cpuUtilization: number;
  memoryFreeBytes: U64;
  gpus: Gpu[];
}

export interface Gpu {
  index: number;
  name: string;
  uuid: string;
  memoryTotalBytes?: U64 | null;
  memoryFreeBytes?: U64 | null;
  utilization?: number | null;
  powerWatts?: number | null;
}

export interface Answer {
  assignments: Assignment[];
  declined: Declined[];
  state: Uint8Array;
}

export interface Assignment {
  demand: number;
  worker: number;
  gpu?: number | null;
  reason: string;
}

export interface Declined {
  demand: number;
  reason: string;
}
