/** Reading tensors whose elements are not in row-major order in their file: transposed, sliced and expanded views. */
import { at } from "../base/at.js";
import { DTYPE_BITS, type TensorEntry } from "./safetensors.js";
import type { FileSource } from "./source.js";

/** Bytes of the file that are in memory at once. */
const WINDOW_BYTES = 2 ** 21;

/** Elements further apart than this many bytes are read one by one: a system call costs as much as reading so much. */
const GAP_BYTES = 128 * 1024;

/** Strides of a row-major tensor of this shape, in elements. */
export function rowMajorStrides(shape: readonly number[]): number[] {
  const strides: number[] = [];
  let stride = 1;
  for (const extent of [...shape].reverse()) {
    strides.unshift(stride);
    stride *= Math.max(1, extent);
  }
  return strides;
}

/** Whether the elements are in row-major order without gaps, so that strides need not be looked at. */
export function isRowMajor(shape: readonly number[], strides: readonly number[]): boolean {
  const expected = rowMajorStrides(shape);
  return shape.includes(0) || shape.every((extent, d) => extent === 1 || strides[d] === expected[d]);
}

/** One dimension of a box: its extent, and the elements from one to the next in the file and in the target. */
interface Axis {
  readonly extent: number;
  readonly from: number;
  readonly to: number;
}

/** A part of a tensor that is a box: its axes, and its first element in the file and in the target. */
interface Box {
  readonly axes: readonly Axis[];
  readonly from: number;
  readonly to: number;
}

/**
 * Fills `into` with the row-major bytes of `entry`, which has `strides`, from byte `offset` on. The range is within the
 * tensor. Needs a window of 2 MiB, whatever the size of the tensor.
 */
export async function readStrided(
  file: FileSource,
  entry: TensorEntry,
  strides: readonly number[],
  offset: number,
  into: Uint8Array,
): Promise<void> {
  if (into.byteLength === 0) return;
  const item = DTYPE_BITS[entry.dtype] / 8;
  const begin = Math.floor(offset / item);
  const end = Math.ceil((offset + into.byteLength) / item);
  const window = new Uint8Array(Math.max(item, WINDOW_BYTES));
  const whole = offset % item === 0 && into.byteLength % item === 0;
  const target = whole ? into : new Uint8Array((end - begin) * item);
  for (const box of boxes(entry.shape, strides, begin, end))
    await readBox(file, entry.offset, item, box, target, window);
  if (!whole) into.set(target.subarray(offset - begin * item, offset - begin * item + into.byteLength));
}

/** The row-major range [begin, end) of a tensor as boxes, at most two for each dimension. */
function* boxes(shape: readonly number[], strides: readonly number[], begin: number, end: number): Generator<Box> {
  if (shape.length === 0) {
    yield { axes: [], from: 0, to: 0 };
    return;
  }
  const rows = rowMajorStrides(shape);
  let element = begin;
  while (element < end) {
    // The outermost dimension of which whole slices start here and fit.
    let d = 0;
    while (element % at(rows, d) !== 0 || element + at(rows, d) > end) d++;
    let from = 0;
    let rest = element;
    for (let k = 0; k <= d; k++) {
      const index = Math.floor(rest / at(rows, k));
      from += index * at(strides, k);
      rest -= index * at(rows, k);
    }
    const slice = at(rows, d);
    const position = Math.floor(element / slice) % at(shape, d);
    const count = Math.min(at(shape, d) - position, Math.floor((end - element) / slice));
    const axes = shape
      .slice(d)
      .map((extent, k) => ({ extent: k === 0 ? count : extent, from: at(strides, d + k), to: at(rows, d + k) }));
    yield { axes, from, to: element - begin };
    element += count * slice;
  }
}

/** Reads a box window by window: as many axes at once, the densest first, as fit in `window`. */
async function readBox(
  file: FileSource,
  base: number,
  item: number,
  box: Box,
  target: Uint8Array,
  window: Uint8Array,
): Promise<void> {
  const axes = box.axes.filter((axis) => axis.extent > 1).sort((a, b) => a.from - b.from);
  const capacity = Math.floor(window.byteLength / item);
  const inner: Axis[] = [];
  let span = 1;
  for (const axis of axes) {
    const wider = span + (axis.extent - 1) * axis.from;
    if (wider > capacity || axis.from * item > GAP_BYTES) break;
    inner.push(axis);
    span = wider;
  }
  const split = axes[inner.length];
  const outer = axes.slice(inner.length + 1);
  const step =
    split === undefined || split.from * item > GAP_BYTES ? 1 : Math.floor((capacity - span) / split.from) + 1;
  const parts = split === undefined ? 1 : Math.ceil(split.extent / step);
  for (const place of places(outer, box)) {
    for (let part = 0; part < parts; part++) {
      const count = split === undefined ? 1 : Math.min(step, split.extent - part * step);
      const from = place.from + part * step * (split?.from ?? 0);
      const to = place.to + part * step * (split?.to ?? 0);
      const bytes = window.subarray(0, (span + (count - 1) * (split?.from ?? 0)) * item);
      await file.read(base + from * item, bytes);
      const all = split === undefined ? inner : [...inner, { ...split, extent: count }];
      scatter(bytes, item, all, target, to);
    }
  }
}

/** Every element of a box, by its place in the file and in the target. */
function* places(
  axes: readonly Axis[],
  start: { readonly from: number; readonly to: number },
): Generator<{ from: number; to: number }> {
  const index = axes.map(() => 0);
  const place = { from: start.from, to: start.to };
  for (;;) {
    yield place;
    let d = 0;
    for (; d < axes.length; d++) {
      const { extent, from, to } = at(axes, d);
      const next = at(index, d) + 1;
      index[d] = next === extent ? 0 : next;
      place.from += next === extent ? -from * (extent - 1) : from;
      place.to += next === extent ? -to * (extent - 1) : to;
      if (next < extent) break;
    }
    if (d === axes.length) return;
  }
}

/** Copies the elements of a window to their places; the longest axis is the inner loop. */
function scatter(window: Uint8Array, item: number, axes: readonly Axis[], target: Uint8Array, to: number): void {
  const longest = axes.reduce((best, axis) => (axis.extent > best.extent ? axis : best), { extent: 1, from: 0, to: 0 });
  for (const place of places(
    axes.filter((axis) => axis !== longest),
    { from: 0, to },
  )) {
    let source = place.from * item;
    let sink = place.to * item;
    for (let i = 0; i < longest.extent; i++) {
      for (let b = 0; b < item; b++) target[sink + b] = at(window, source + b);
      source += longest.from * item;
      sink += longest.to * item;
    }
  }
}
