/** The queue of a session's commands, on streams that run side by side. */
import { Queue } from "../../src/device/queue.js";
import { type Declared, LANES } from "../../src/schedule/command.js";
import { rest } from "../../src/schedule/resource.js";
import { withDevice } from "./support.js";

const BYTES = 4096;
const TIMES = 1500;

test("what is given up behind `settle` is free for what is allocated next", () =>
  // Of the limit there is room for one buffer alone.
  withDevice({ memoryLimit: BYTES }, async (device) => {
    const queue = new Queue(device, true);
    const label = { kind: "work", work: { kind: "label" } } as const;
    const others = LANES.filter((lane) => lane !== "compute");
    const list: Declared[] = [
      { ...label, lane: "compute", reads: [], writes: [rest(others.length)] },
      ...others.map((lane, i) => ({ ...label, lane, reads: [rest(others.length)], writes: [rest(i)] })),
    ];
    for (let i = 0; i < TIMES; i++) {
      const buffer = await device.createBuffer("device", BYTES);
      queue.submit(list, (words, stream) => words.fill(stream, { buffer, offset: 0 }, 1, BYTES));
      await queue.settle();
      buffer.dispose();
    }
    queue.dispose();
  }));
