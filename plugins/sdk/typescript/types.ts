// What all worlds share; see wit/types.wit.

/**
 * A u64. QuickJS hands over a signed double: rounded beyond 2^53, and negative from 2^63 on. Take it through `unsigned` before you reckon
 * with it.
 */
export type U64 = number | bigint;

/** The u64 that was meant, as far as a double can hold it. */
export function unsigned(value: U64): bigint {
  return BigInt.asUintN(64, BigInt(value));
}

/** Why a policy gives no answer, in a sentence for the person who set the run up. Throw it. */
export class Refusal {
  private constructor(
    readonly tag: "parameters" | "question",
    readonly val: string,
  ) {}

  /** The parameters are not ones this policy takes: say which key, and what is allowed. */
  static parameters(sentence: string): Refusal {
    return new Refusal("parameters", sentence);
  }

  /** The parameters are fine, but this question has no answer: say what is missing from it. */
  static question(sentence: string): Refusal {
    return new Refusal("question", sentence);
  }
}

/** Reads the run's parameters, one JSON object of numbers; `defaults` holds every one that is known. Check ranges yourself. */
export function readParameters<T extends Record<string, number>>(parameters: string, defaults: T): T {
  const known = Object.keys(defaults);
  const read: Record<string, number> = { ...defaults };
  for (const [name, value] of Object.entries(parseObject(parameters))) {
    if (!known.includes(name)) {
      const allowed = known.length === 0 ? "there are none" : `there is ${known.join(", ")}`;
      throw Refusal.parameters(`unknown parameter \`${name}\`; ${allowed}`);
    }
    if (typeof value !== "number") {
      throw Refusal.parameters(`${name} is no number`);
    }
    read[name] = value;
  }
  return read as T;
}

function parseObject(parameters: string): object {
  let value: unknown;
  try {
    value = JSON.parse(parameters.trim() || "{}");
  } catch (error) {
    throw Refusal.parameters(`the parameters are no JSON: ${error instanceof Error ? error.message : error}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw Refusal.parameters("the parameters are no JSON object");
  }
  return value;
}

/** A number for a reason, four significant digits. */
export function figure(value: number): string {
  return String(Number(value.toPrecision(4)));
}
