import { at } from "../base/at.js";
import { align } from "../base/dtype.js";
import { SEQUENCE_FIELDS } from "../ops/value.js";
import { type Region, within } from "./arena.js";
import type { ControlLayout } from "./control.js";
import type { Capacity } from "./places.js";

const WORD_BYTES = 4;

/** The int32 tables of one micro-batch. Bytes from its start. */
export interface InputLayout {
  readonly tokens: number;
  readonly positions: number;
  readonly sequences: number;
  readonly headRows: number;
  readonly targets: number;
  readonly cacheRows: number;
  readonly prefixIds: number;
  readonly prefixPlaces: number;
  readonly objective: number;
  readonly bytes: number;
}

/** What comes with a batch: the tables of each micro-batch, then what all share. Bytes from the start of its region. */
export interface BatchLayout {
  readonly microBatch: InputLayout;
  readonly microBatches: number;
  /** int32 row numbers of the gathered table. */
  readonly tableRows: Region;
  /** Coefficients of a step that come from outside instead of from its losses. */
  readonly coefficients: Region;
  readonly bytes: number;
}

/** A batch's places in an arena. */
export interface BatchRegions {
  readonly whole: Region;
  readonly microBatches: readonly { readonly whole: Region; readonly objective: Region }[];
  readonly tableRows: Region;
  readonly coefficients: Region;
}

export function batchLayout(
  capacity: Capacity,
  { cached, control }: { readonly cached: boolean; readonly control: ControlLayout },
): BatchLayout {
  const microBatch = inputLayout(capacity, cached);
  const tableRows = { offset: microBatch.bytes * capacity.microBatches, bytes: capacity.tableRows * WORD_BYTES };
  const coefficients = {
    offset: tableRows.offset + align(tableRows.bytes),
    bytes: at(control.states, 0).coefficients.bytes,
  };
  const bytes = coefficients.offset + align(coefficients.bytes);
  return { microBatch, microBatches: capacity.microBatches, tableRows, coefficients, bytes };
}

export function batchRegions(layout: BatchLayout, whole: Region): BatchRegions {
  const { microBatch, tableRows, coefficients } = layout;
  const { objective, bytes } = microBatch;
  return {
    whole,
    microBatches: Array.from({ length: layout.microBatches }, (_, m) => {
      const region = within(whole, m * bytes, bytes);
      return { whole: region, objective: within(region, objective) };
    }),
    tableRows: within(whole, tableRows.offset, tableRows.bytes),
    coefficients: within(whole, coefficients.offset, coefficients.bytes),
  };
}

function inputLayout(capacity: Capacity, cached: boolean): InputLayout {
  let bytes = 0;
  const take = (words: number): number => {
    const at = bytes;
    bytes += align(words * WORD_BYTES);
    return at;
  };
  const tables = {
    tokens: take(capacity.rows),
    positions: take(capacity.rows),
    sequences: take(capacity.sequences * SEQUENCE_FIELDS),
    headRows: take(capacity.headRows),
    targets: take(capacity.targets * 2),
    cacheRows: take(cached || capacity.prefixRows > 0 ? capacity.rows : 0),
    prefixIds: take(capacity.prefixRows),
    prefixPlaces: take(capacity.prefixRows),
    objective: take(capacity.objectiveWords),
  };
  return { ...tables, bytes };
}
