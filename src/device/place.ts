import type { Buffer } from "zo2/native";
import type { Region } from "../memory/arena.js";
import type { Span } from "./words.js";

/** A region in the memory that it is a region of. Bytes. */
export interface Place extends Span {
  readonly bytes: number;
}

/** Regions of one arena, in whatever structure, with the arena behind each. */
export type Placed<T> = T extends Region
  ? Place
  : T extends readonly (infer Item)[]
    ? readonly Placed<Item>[]
    : T extends object
      ? { readonly [K in keyof T]: Placed<T[K]> }
      : T;

export function placed<T>(regions: T, buffer: Buffer): Placed<T> {
  return place(regions, buffer) as Placed<T>;
}

function place(regions: unknown, buffer: Buffer): unknown {
  if (typeof regions !== "object" || regions === null) return regions;
  if (Array.isArray(regions)) return regions.map((region) => place(region, buffer));
  if (isRegion(regions)) return { buffer, offset: regions.offset, bytes: regions.bytes };
  return Object.fromEntries(Object.entries(regions).map(([name, region]) => [name, place(region, buffer)]));
}

function isRegion(regions: object): regions is Region {
  return "offset" in regions && "bytes" in regions;
}

export function offsetBy(span: Span, bytes: number): Span {
  return { buffer: span.buffer, offset: span.offset + bytes };
}

/** A copy of the first `bytes` (all) of a place in host memory. @throws RangeError when it has less */
export function bytesAt(place: Place, bytes = place.bytes): ArrayBuffer {
  checkFits(bytes, place);
  const copy = new Uint8Array(bytes);
  place.buffer.read(place.offset, copy);
  return copy.buffer;
}

/** Puts bytes into host memory, from the start of a place on. @throws RangeError when they do not fit */
export function putBytes(place: Place, bytes: ArrayBuffer): void {
  checkFits(bytes.byteLength, place);
  place.buffer.write(place.offset, new Uint8Array(bytes));
}

/** The buffer around a place checks only its own end. */
function checkFits(bytes: number, place: Place): void {
  if (bytes > place.bytes) throw new RangeError(`${bytes} bytes do not fit in a place of ${place.bytes}`);
}
