/** The header of a safetensors file: `headerLength` and `parseHeader` of src/checkpoint/safetensors.ts. */
import path from "node:path";
import { mutateBytes } from "../lib/bytes.mjs";
import { mutateJson } from "../lib/json.mjs";
import { attempt, demand } from "../lib/oracle.mjs";
import { makeSafetensors, mutateSafetensors, SAFETENSORS_WORDS, smallSafetensors } from "../lib/safetensors.mjs";

/** The same tensors and metadata, written anew. */
function written({ tensors, metadata }, dataStart, fileBytes) {
  const header = Object.create(null);
  const entries = [];
  if (Object.keys(metadata).length > 0) entries.push(["__metadata__", metadata]);
  for (const { name, dtype, shape, offset, bytes } of tensors) {
    entries.push([name, { dtype, shape, data_offsets: [offset - dataStart, offset - dataStart + bytes] }]);
  }
  for (const [name, value] of entries) header[name] = value;
  const json = Buffer.from(JSON.stringify(header));
  return { json, fileBytes: 8 + json.length + fileBytes - dataStart };
}

function checkTensors(tensors, dataStart, fileBytes, dtypeBits) {
  let covered = 0;
  for (const { name, dtype, shape, offset, bytes } of tensors) {
    const inside = offset >= dataStart && bytes >= 0 && offset + bytes <= fileBytes;
    demand(
      inside,
      () => `${name}: bytes ${offset} to ${offset + bytes} of a file of ${fileBytes} with its data at ${dataStart}`,
    );
    const bits = shape.reduce((product, extent) => product * BigInt(extent), BigInt(dtypeBits[dtype]));
    demand(bits === BigInt(bytes) * 8n, () => `${name}: ${bytes} bytes for ${dtype} [${shape.join(", ")}]`);
    covered += bytes;
  }
  demand(
    covered === fileBytes - dataStart,
    () => `tensors of ${covered} bytes in ${fileBytes - dataStart} bytes of data`,
  );
}

export default {
  dictionary: SAFETENSORS_WORDS,
  maxBytes: 16384,

  *seeds(root) {
    yield* smallSafetensors(root);
    yield makeSafetensors([]);
  },

  mutate: (bytes, random, context) =>
    mutateSafetensors(bytes, random, context, mutateJson) ?? mutateBytes(bytes, random, context),

  async open({ dist }) {
    const { headerLength, parseHeader, DTYPE_BITS } = await import(path.join(dist, "checkpoint", "safetensors.js"));
    const { isZo2Error } = await import(path.join(dist, "base", "errors.js"));
    const parse = (bytes, fileBytes) =>
      attempt(isZo2Error, ["ZO2_ERR_CHECKPOINT"], bytes.length, () => parseHeader("file", bytes, fileBytes));
    return async (input) => {
      const length = await attempt(isZo2Error, ["ZO2_ERR_CHECKPOINT"], input.length, () =>
        headerLength("file", input.subarray(0, 8), input.length),
      );
      if (length.value === undefined) return;
      demand(length.value <= input.length - 8, `a header of ${length.value} bytes in a file of ${input.length}`);
      const dataStart = 8 + length.value;
      const header = await parse(input.subarray(8, dataStart), input.length);
      if (header.value === undefined) return;
      checkTensors(header.value.tensors, dataStart, input.length, DTYPE_BITS);
      const again = written(header.value, dataStart, input.length);
      const second = await parse(again.json, again.fileBytes);
      demand(second.value !== undefined, () => `refused when written anew: ${second.message}`);
      const plain = ({ tensors, metadata }, start) =>
        JSON.stringify([tensors.map((one) => ({ ...one, offset: one.offset - start })), { ...metadata }]);
      demand(
        plain(second.value, 8 + again.json.length) === plain(header.value, dataStart),
        "another header when written anew",
      );
    };
  },
};
