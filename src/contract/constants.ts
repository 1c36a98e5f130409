/**
 * The numbers of `contract/zo2.h`, under the same words; those of ops stand in `ops/table.ts`. `scripts/check-api.mjs`
 * compares them with the header.
 */
export const CONTRACT_VERSION = 9;

export const DTYPE = { f32: 0, f16: 1, bf16: 2, i32: 3, i8: 4, e4m3: 5 } as const;

export const SEGMENT = { decay: 1, frozen: 2, gathered: 4 } as const;

export const NOISE = { gaussian: 0, rademacher: 1, buffer: 2, lowRank: 3 } as const;

export const ROUND = { nearest: 0, stochastic: 1 } as const;

export const STICKY = { notFinite: 1, overflow: 2 } as const;

export const SPACE = { weights: 0, carried: 1, workspace: 2, inputs: 3, results: 4, cache: 5 } as const;

export const SYMBOL = {
  rows: 0,
  sequences: 1,
  headRows: 2,
  targets: 3,
  tableRows: 4,
  prefixRows: 5,
  keyRows: 6,
} as const;

export const ACTIVATION = { none: 0, relu: 1, gelu: 2, geluTanh: 3, silu: 4 } as const;

export const TILE = { first: 1, last: 2 } as const;

export const LOSS = { tokens: 0, choicesMean: 1, choicesSum: 2, binary: 3, squared: 4, spans: 5 } as const;

export const SHAPING = { none: 0, zscore: 1, rank: 2 } as const;

/** Bytes of a loss (fp64), and of `zo2_coefficient`, whose value comes first and whether it is finite second. */
export const LOSS_BYTES = 8;
export const COEFFICIENT_BYTES = 8;
/** Bytes of `zo2_sticky`. */
export const STICKY_BYTES = 8;

/** Bytes of a seal, and of the caller's note in it (see "a seal" in `zo2.h`). */
export const SEAL_BYTES = 4096;
export const SEAL_NOTE_BYTES = 24;

/**
 * Opcodes of the command list that `Device.submit` takes; they exist only between
 * `device/words.ts` and `binding/commands.cc`.
 */
export const COMMAND = {
  record: 1,
  wait: 2,
  hold: 3,
  copy: 4,
  fill: 5,
  gather: 6,
  prepare: 7,
  run: 8,
  loss: 9,
  gradient: 10,
  seal: 11,
} as const;
