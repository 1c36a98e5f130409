/** OPT models of any size without a checkpoint: recorded from their shape, with weights made in memory. */
import { openDevice } from "../../dist/esm/device/open.js";
import { Session } from "../../dist/esm/device/session.js";
import { cutUnits } from "../../dist/esm/memory/units.js";
import { defineModel, recordModel } from "../../dist/esm/models/index.js";
import { numberParameters } from "../../dist/esm/ops/parameter.js";
import { optConfig } from "./opt-shape.mjs";

/** Elements of a matrix that are drawn; a matrix holds them over and over. */
const PATTERN = 2 ** 20;
const DEVIATION = 0.02;

/** The recorded model of a shape, `{layers, hidden, ffn, heads, vocab, maxpos}`. */
export function recordOpt(shape) {
  const definition = defineModel(optConfig(shape));
  return { definition, recording: recordModel(definition, numberParameters(definition.parameters)) };
}

/**
 * A session over a model of this shape, whose weights rest `to` "host", "device" or "disk" (in the folder `diskPath`):
 * matrices of random numbers, the same ones every time, gains of 1, biases of 0.
 */
export async function openSynthetic(
  shape,
  { device, threads, wire, compute = wire, unitBytes, to, diskPath, slots, overlap },
) {
  const { definition, recording } = recordOpt(shape);
  const units = cutUnits(recording, { wire, compute, unitBytes });
  const session = await Session.create(await openDevice({ device, threads }), recording, units, {
    tierOf: () => to,
    disk: { diskPath },
    activations: "auto",
    ...{ slots, overlap, prepareAhead: "auto", writeBackEvery: 1, wire, compute },
    rounding: "nearest",
    positionRow: definition.positionRow,
    poison: false,
  });
  try {
    await fill(session.store, units, wire);
    return session;
  } catch (error) {
    await session.dispose();
    throw error;
  }
}

async function fill(store, units, wire) {
  const pattern = await randomPattern(store, wire);
  for (const unit of units) {
    await store.write(unit.index, async ({ buffer, offset }) => {
      for (const tensor of unit.tensors) {
        const at = offset + tensor.wireOffset;
        if (tensor.parameter.shape.length > 1) repeat(buffer, at, pattern, tensor.count * (wire === "fp32" ? 4 : 2));
        else if (/norm\.weight$/.test(tensor.parameter.name)) buffer.write(at, bytesOf(gains(tensor.count)));
        // Host memory is zeroed: biases are there.
      }
    });
  }
}

/** Wire bytes of random numbers: a GPU is faster on zeros. */
async function randomPattern(store, wire) {
  const random = uniform(1);
  const values = Float32Array.from({ length: PATTERN }, () => DEVIATION * (12 ** 0.5 * (random() - 0.5)));
  const pattern = new Uint8Array(PATTERN * (wire === "fp32" ? 4 : 2));
  await store.withHostMemory(pattern.byteLength, async (memory) => {
    await store.convert(bytesOf(values), "fp32", memory, wire, PATTERN);
    memory.buffer.read(memory.offset, pattern);
  });
  return pattern;
}

/** Numbers of [0, 1): 32 bits of a linear congruential generator (Numerical Recipes). */
function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function repeat(buffer, offset, pattern, bytes) {
  for (let done = 0; done < bytes; done += pattern.byteLength)
    buffer.write(offset + done, pattern.subarray(0, Math.min(pattern.byteLength, bytes - done)));
}

const gains = (count) => new Float32Array(count).fill(1);
const bytesOf = (values) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
