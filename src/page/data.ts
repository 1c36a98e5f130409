/** What a page holds for its script, as JSON. Only types: the script and whoever makes the page both know them. */

/** Values over steps. */
export interface Line {
  /** Steps taken; null: the k-th value stands at step k. */
  readonly steps: readonly number[] | null;
  /** Null where there is no finite one. */
  readonly values: readonly (number | null)[];
}

/** Every step's value, and their smoothed course. */
export interface Course {
  readonly raw: Line;
  readonly smooth: Line;
}

/** Something that happened to a run, at a step or over some. */
export interface Marker {
  /** "session": another process goes on here. */
  readonly kind: "session" | "dropped";
  /** Steps taken before it. */
  readonly step: number;
  /** Steps that it lasted; 0: a moment. */
  readonly steps: number;
  readonly text: string;
}

export interface EvaluationLines {
  readonly loss: Line;
  /** Null where nothing is right or wrong. */
  readonly accuracy: Line | null;
  /** Place in the lines of the one that was the best at the end. */
  readonly best: number | null;
}

export interface RunPicture {
  readonly name: string;
  readonly loss: Course | null;
  readonly evaluations: EvaluationLines | null;
  /** One line for each direction. */
  readonly coefficients: readonly Line[];
  /** Share of all coefficients in each bin of `Picture.bins`, as a percentage. */
  readonly distribution: readonly number[];
  readonly rate: Line | null;
  /** Tokens a second; null where there are no metrics. */
  readonly speed: Course | null;
  readonly markers: readonly Marker[];
}

export interface Picture {
  /** Borders of the bins of every `distribution`: one more than there are bins. */
  readonly bins: readonly number[];
  readonly runs: readonly RunPicture[];
}
