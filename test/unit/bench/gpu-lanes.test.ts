import { inModule } from "./modules.js";

const MODULE = "bench/gpu/lanes.mjs";
const span = (lane: string, begin: number, end: number) => ({ lane, begin, end });

test("what overlaps is counted once for each number of lanes, gaps as idle", () => {
  const spans = [span("upload", 0, 4), span("compute", 2, 6), span("offload", 3, 5), span("upload", 8, 9)];
  expect(inModule(MODULE, "return m.overlapOf(args[0])", spans)).toEqual({
    wallSeconds: 9,
    serialSeconds: 11,
    busySeconds: { upload: 5, compute: 4, offload: 2 },
    idleSeconds: 2,
    oneLaneSeconds: 4,
    twoLanesSeconds: 2,
    threeLanesSeconds: 1,
  });
});

test("a span that begins where another lane's ends does not overlap it, in whatever order they come", () => {
  const spans = [span("compute", 1, 2), span("upload", 0, 1), span("compute", 2, 3)];
  expect(inModule(MODULE, "return m.overlapOf(args[0])", spans)).toMatchObject({
    wallSeconds: 3,
    oneLaneSeconds: 3,
    twoLanesSeconds: 0,
    threeLanesSeconds: 0,
  });
});

test("no spans come to nothing", () => {
  expect(inModule(MODULE, "return m.overlapOf([])")).toMatchObject({ wallSeconds: 0, serialSeconds: 0 });
});

test("the predicted step is its busiest lane, whose commands are limited by bytes or by arithmetic each", () => {
  const commands = [
    { lane: "upload", bytes: 100 },
    { lane: "upload", bytes: 50 },
    // 3 s by bytes, 1 s by arithmetic; then 1 s by bytes, 4 s by arithmetic.
    { lane: "compute", deviceBytes: 300, flops: 1000 },
    { lane: "compute", deviceBytes: 100, flops: 4000 },
    { lane: "compute" },
  ];
  const rates = { transferRate: 25, memoryRate: 100, flopRate: 1000 };
  expect(inModule(MODULE, "return m.predictStep(args[0], args[1])", commands, rates)).toEqual({
    laneSeconds: { upload: 6, compute: 7 },
    seconds: 7,
  });
});

test("without overlap the predicted step is the sum of its lanes; noise is limited by its own rate", () => {
  const commands = [
    { lane: "upload", bytes: 100 },
    { lane: "compute", deviceBytes: 100, draws: 30 },
  ];
  const rates = { transferRate: 25, memoryRate: 100, flopRate: 1000, drawRate: 10 };
  expect(inModule(MODULE, "return m.predictStep(args[0], args[1], false)", commands, rates)).toEqual({
    laneSeconds: { upload: 4, compute: 3 },
    seconds: 7,
  });
});
