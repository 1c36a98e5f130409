/**
 * What a run that goes wrong looks like: judged from each step's losses and coefficients alone, as a journal has them.
 */
import { at } from "../base/at.js";
import { Zo2Error } from "../base/errors.js";
import type { Journal } from "../journal/read.js";
import { type DroppedRecord, type Guard, lossesOf } from "../journal/record.js";
import { rootMeanSquare, type StepOutcome } from "../method/index.js";

/** Losses that a message names at most. */
const SHOWN = 4;
/** Coefficients that a new one is compared with, and how many of them there have to be. */
const WINDOW = 128;
const ENOUGH = 64;
/**
 * How many times the root of their mean square a coefficient may be. Those of a training that works are about normal,
 * with tails from batch to batch that stay within a few of these.
 */
const FAR = 30;
/** Steps in a row with the same wrong losses. */
const FLAT_STEPS = 50;
/** As many drops within so many steps, and dropping does not help. */
const DROPS = 8;
const DROPS_WITHIN = 256;

/** What is wrong with a step. */
export interface Divergence {
  readonly guard: Guard;
  /** The first step that has to be dropped for it. */
  readonly since: number;
  /** Names the step, and what to try. */
  readonly error: Zo2Error;
}

/**
 * Judges steps in their order. What it remembers is a function of the run's records, so that resumed runs judge alike.
 */
export class Guards {
  private readonly magnitudes: number[] = [];
  private flat = 0;
  private drops: readonly number[] = [];

  /** @param losses whether they come from the model: an objective of the caller may well take few values. */
  constructor(private readonly losses: "model" | "caller") {}

  /** As after the steps of a journal. */
  static of(losses: "model" | "caller", { steps, dropped }: Pick<Journal, "steps" | "dropped">): Guards {
    const guards = new Guards(losses);
    const byStep = new Map(dropped.map((record) => [record.step, record]));
    for (const record of steps) {
      const drop = byStep.get(record.step);
      if (drop !== undefined) guards.dropped(drop);
      else guards.judge({ losses: lossesOf(record), coefficients: record.coefficients }, record.step);
    }
    return guards;
  }

  /** Null where nothing is wrong. Only such a step is one that later ones are compared with. */
  judge({ losses, coefficients }: StepOutcome, step: number): Divergence | null {
    const g = textOf(coefficients);
    if (![...losses, ...coefficients].every(Number.isFinite)) {
      return wrong(
        "not-finite",
        step,
        `the projected gradient is not a finite number (${g}, of the losses ${lossesText(losses)}); lower the ` +
          "learning rate or eps, and check the batch of that step",
      );
    }
    const [loss = 0] = losses;
    const same = this.losses === "model" && losses.length > 1 && losses.every((other) => other === loss);
    this.flat = same ? this.flat + 1 : 0;
    if (this.flat >= FLAT_STEPS) {
      return wrong(
        "collapsed",
        step,
        `for ${this.flat} steps every probe has had the same loss (${loss} now), so that nothing is learned: eps is ` +
          "lost in the rounding of weights or losses, or the losses have fallen to 0; raise eps, use fp32 or bf16 as " +
          "dtype and wire, or lower the learning rate",
      );
    }
    const magnitude = rootMeanSquare(coefficients);
    const usual = rootMeanSquare(this.magnitudes);
    if (this.magnitudes.length >= ENOUGH && usual > 0 && magnitude > FAR * usual) {
      return wrong(
        "outlier",
        step,
        `the projected gradient is ${g}, ${(magnitude / usual).toFixed(0)} times what it was over the last ` +
          `${this.magnitudes.length} steps (${usual.toPrecision(3)}); check the batch of that step, or lower the ` +
          "learning rate",
      );
    }
    this.magnitudes.push(magnitude);
    if (this.magnitudes.length > WINDOW) this.magnitudes.shift();
    return null;
  }

  /** Steps were dropped. */
  dropped({ step }: Pick<DroppedRecord, "step">): void {
    this.flat = 0;
    this.drops = [...this.drops, step].slice(-DROPS);
  }

  /** Whether steps are dropped again and again, so that one more would not help. */
  inVain(step: number): boolean {
    return this.drops.length === DROPS && step - at(this.drops, 0) < DROPS_WITHIN;
  }
}

function wrong(guard: Guard, step: number, what: string): Divergence {
  const code = guard === "not-finite" ? "ZO2_ERR_NOT_FINITE" : "ZO2_ERR_DIVERGED";
  return { guard, since: step, error: new Zo2Error(code, `step ${step}: ${what}`) };
}

function lossesText(losses: readonly number[]): string {
  return `${losses.slice(0, SHOWN).join(" and ")}${losses.length > SHOWN ? " and others" : ""}`;
}

/** The one, or what all of them come to. */
function textOf(coefficients: readonly number[]): string {
  if (coefficients.length === 1) return String(coefficients[0]);
  return `${rootMeanSquare(coefficients)}, as the root mean square of ${coefficients.length} directions`;
}
