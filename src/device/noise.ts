import type { Buffer, Device } from "zo2/native";
import type { DrawnNoise } from "../method/index.js";
import { allocate, USE } from "./allocate.js";
import type { NoiseSource } from "./pass-data.js";

/** Noise by its distribution, or for tests z itself: fp32, in the canonical order (`canonicalLength` elements). */
export type Noise = DrawnNoise | { readonly z: Float32Array };

export function isDrawn(noise: Noise): noise is DrawnNoise {
  return typeof noise === "string" || "kind" in noise;
}

export function drawnSource(noise: DrawnNoise): NoiseSource {
  return typeof noise === "string" ? { kind: noise } : noise;
}

/** Tables of z that tests put in the place of drawn noise, by step state: free again when the state of the step is. */
export class NoiseTables {
  private readonly buffers = new Map<number, Buffer>();

  /** @param elements of the canonical order. */
  constructor(
    private readonly device: Device,
    private readonly elements: number,
  ) {}

  async source(noise: Noise, state: number): Promise<NoiseSource> {
    if (isDrawn(noise)) return drawnSource(noise);
    const bytes = this.elements * Float32Array.BYTES_PER_ELEMENT;
    const buffer = this.buffers.get(state) ?? (await allocate(this.device, "host", bytes, USE.noise));
    this.buffers.set(state, buffer);
    const { z } = noise;
    buffer.write(0, new Uint8Array(z.buffer, z.byteOffset, z.byteLength));
    return { kind: "buffer", z: { buffer, offset: 0 } };
  }

  dispose(): void {
    for (const buffer of this.buffers.values()) buffer.dispose();
  }
}
