/** The line that a command begins with: what rests on disk, and where. */
import { modelLine } from "../../../src/cli/describe-model.js";
import type { ModelView } from "../../../src/cli/api.js";

const lineOf = (plan: object) =>
  modelLine(
    {
      ...{ dir: "models/opt", parameterCount: 175e9, maxPositions: 2048 },
      deviceInfo: () => ({ kind: "cuda", threads: 8 }),
      plan: () => ({
        units: [{ name: "layer", tier: "disk", bytes: 2 ** 30 }],
        ...{ parts: [], slots: 3, deviceMemory: null, deviceBytes: 2 ** 33, hostBytes: 2 ** 31, tokens: 2048 },
        activations: { tier: "device", bytes: 0 },
        ...plan,
      }),
    } as unknown as ModelView,
    { training: false, maxLength: 512 },
  );

test("what is read in the checkpoint's own files is told apart from what is written", () => {
  const gib = 2 ** 30;
  expect(lineOf({ diskBytes: 326 * gib, inPlaceBytes: 325 * gib })).toMatch(
    /host 2 GiB, disk 326 GiB once weights are trained; 325 GiB of them are read from the checkpoint's own files$/,
  );
  expect(lineOf({ diskBytes: 326 * gib, inPlaceBytes: 0 })).toMatch(/host 2 GiB, disk 326 GiB$/);
  expect(lineOf({ diskBytes: 0, inPlaceBytes: 0 })).toMatch(/host 2 GiB$/);
});
