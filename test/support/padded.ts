import { Zo2Error } from "../../src/base/errors.js";
import { NOT_SCORED, type EncodedTokens } from "../../src/data/encoded.js";

/** A batch as Hugging Face tools make it: [rows x columns] each, padded on the left or on the right. */
export interface PaddedBatch {
  readonly input_ids: readonly ArrayLike<number>[];
  /** 1 for real tokens, 0 for padding. */
  readonly attention_mask: readonly ArrayLike<number>[];
  /** Not shifted; -100 where nothing is scored. Without it, every real token is its own label. */
  readonly labels?: readonly ArrayLike<number>[];
}

/**
 * The rows of a padded batch without their padding. Positions count real tokens. The label of a row's first real token
 * is dropped: with padding before it, it would be predicted from padding. Throws `ZO2_ERR_DATA` naming the row where
 * the shapes differ, the mask has gaps, or a padded position carries a label.
 */
export function unpackPadded({ input_ids, attention_mask, labels }: PaddedBatch): EncodedTokens[] {
  if (attention_mask.length !== input_ids.length || (labels !== undefined && labels.length !== input_ids.length)) {
    throw new Zo2Error(
      "ZO2_ERR_DATA",
      `input_ids has ${input_ids.length} rows, attention_mask ${attention_mask.length}, labels ` +
        `${labels?.length ?? "none"}`,
    );
  }
  return input_ids.map((row, r) => unpackRow(row, attention_mask[r] ?? [], labels?.[r], r));
}

function unpackRow(
  row: ArrayLike<number>,
  mask: ArrayLike<number>,
  labels: ArrayLike<number> | undefined,
  r: number,
): EncodedTokens {
  const fail = (what: string) => new Zo2Error("ZO2_ERR_DATA", `row ${r} of the padded batch: ${what}`);
  if (mask.length !== row.length || (labels !== undefined && labels.length !== row.length)) {
    throw fail(`${row.length} ids, ${mask.length} mask values, ${labels?.length ?? "no"} labels`);
  }
  const real: number[] = [];
  for (let t = 0; t < row.length; t++) {
    if (mask[t] === 1) real.push(t);
    else if (mask[t] !== 0) throw fail(`attention_mask[${t}] is ${mask[t]}; it must be 0 or 1`);
    else if (labels !== undefined && labels[t] !== NOT_SCORED)
      throw fail(`labels[${t}] is ${labels[t]}, and that position is padding; it must be -100`);
  }
  const begin = real[0] ?? 0;
  if (real.length > 0 && real[real.length - 1] !== begin + real.length - 1)
    throw fail("attention_mask has a gap; padding stands on the left or on the right only");
  return {
    kind: "tokens",
    ids: Int32Array.from(real, (t) => row[t] ?? 0),
    labels: Int32Array.from(real, (t) => (t === begin ? NOT_SCORED : ((labels ?? row)[t] ?? NOT_SCORED))),
  };
}
