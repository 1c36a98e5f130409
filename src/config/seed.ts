import { z } from "zod";

const SEED_MIN = -(2n ** 63n);
const SEED_END = 2n ** 64n;

function isSeed(value: unknown): value is number | bigint {
  if (typeof value === "number") return Number.isSafeInteger(value);
  return typeof value === "bigint" && value >= SEED_MIN && value < SEED_END;
}

/**
 * Any 64-bit integer, as a safe integer or a bigint; resolved to its 64 bits as an unsigned bigint, so -1 and 2^64 - 1
 * are one seed.
 */
export const seedSchema = z
  .custom<number | bigint>(isSeed, { error: "must be a safe integer, or a bigint from -2^63 to 2^64 - 1" })
  .transform((seed) => BigInt.asUintN(64, BigInt(seed)));
