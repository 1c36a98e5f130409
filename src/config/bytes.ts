import { z } from "zod";
import { BYTE_SIZE_FORMS, parseBytes } from "../base/bytes.js";

/** Schema of an amount of memory: a number of bytes or text with a unit in, bytes out. */
export const byteSizeSchema = z
  .custom<number | string>((value) => parseBytes(value) !== undefined, { error: `must be ${BYTE_SIZE_FORMS}` })
  .transform((value) => parseBytes(value) ?? 0);
