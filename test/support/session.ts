import type { SessionOptions } from "../../src/device/options.js";

/** Options of a session over a small model in fp32, streamed through two slots. */
export const SESSION_OPTIONS: SessionOptions = {
  tierOf: () => "host",
  slots: 2,
  overlap: true,
  prepareAhead: "auto",
  activations: "auto",
  writeBackEvery: 1,
  wire: "fp32",
  compute: "fp32",
  rounding: "nearest",
  positionRow: (position) => position,
  poison: false,
};
