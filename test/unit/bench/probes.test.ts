import { about } from "./about.js";
import { inModule } from "./modules.js";

const from = (near: Readonly<Record<number, boolean>>, order: readonly number[]) =>
  inModule(
    "bench/lib/repaid.mjs",
    "return m.fromDirections(args[0], ({ near }) => near);",
    order.map((directions) => ({ directions, near: near[directions] })),
  );

describe("the directions from which on an upload is repaid", () => {
  it("are the least behind the last row that is not near, in whatever order the rows are", () => {
    expect(from({ 1: false, 2: true, 4: true }, [4, 1, 2])).toBe(2);
    expect(from({ 1: true, 2: false, 4: true, 16: true }, [16, 4, 2, 1])).toBe(4);
  });

  it("are the first of all where every row is near, and none where the last is not", () => {
    expect(from({ 1: true, 2: true }, [1, 2])).toBe(1);
    expect(from({ 1: true, 2: true, 4: false }, [1, 2, 4])).toBeNull();
  });
});

describe("the bytes of a step", () => {
  it("are summed by way, and those between other places are not among them", () => {
    const spans = [
      { lane: "upload", bytes: 3 },
      { lane: "upload", bytes: 4 },
      { lane: "upload" },
      { lane: "offload", bytes: 5 },
      { lane: "prepare", deviceBytes: 100 },
      { lane: "compute", deviceBytes: 100 },
      { lane: "read", diskBytes: 6 },
      { lane: "write", diskBytes: 7 },
    ];
    expect(inModule("bench/lib/moved.mjs", "return m.movedBytes(args[0]);", spans)).toEqual({
      uploaded: 7,
      offloaded: 5,
      read: 6,
      written: 7,
    });
  });
});

const block = (name: string, result: unknown) =>
  String(inModule("bench/lib/probe-tables.mjs", `return m.${name}(args[0]);`, result));
const cells = (text: string) =>
  text.split("\n").map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );

describe("the table of what several probes cost", () => {
  const moved = (mib: number) => ({ uploaded: mib * 2 ** 20, offloaded: 2 ** 20, read: 2 ** 21, written: 2 ** 20 });
  const step = (to: string, directions: number, ratio: number, mib = 3) => ({
    ...{ method: "fzoo", directions, passes: directions + 1, batch: 1, seq: 1024, to },
    ...{ seconds: ratio * (directions + 1), secondsPerPass: ratio, ratio, least: ratio - 0.5, most: ratio + 1 },
    bytes: moved(mib),
  });
  const result = {
    ...about,
    ...{ build: "compiler; more", threads: 2, near: 0.05, runs: { kind: "cpu", name: "A CPU" } },
    asked: { model: "M", parameters: 1234567, rounds: 3 },
    rows: [2, 4].flatMap((n) => [step("device", n, 1), step("host", n, 4 / n), step("disk", n, 9)]),
    repaid: [
      { batch: 1, seq: 1024, method: "fzoo", to: "host", from: 4 },
      { batch: 1, seq: 1024, method: "fzoo", to: "disk", from: null },
    ],
  };

  it("holds every row, slow ones too, by step and by pass, and says where nothing is repaid", () => {
    const made = block("probesBlock", result);
    const first = ["1 x 1,024", "`fzoo`"];
    expect(cells(made)).toEqual(
      expect.arrayContaining([
        [...first, "2", "3", "3.000", "1.0000", "2.0000", "2.00 (1.50 to 3.00)", "9.0000", "9.00 (8.50 to 10.00)"],
        [...first, "4", "5", "5.000", "1.0000", "1.0000", "1.00 (0.50 to 2.00)", "9.0000", "9.00 (8.50 to 10.00)"],
        [...first, "4", "not with 4"],
      ]),
    );
    expect(made).toContain("from host memory 3 MiB to the device and 1 MiB back; from disk 2 MiB more");
    expect(made).toContain("commit 0123456789ab; 2026-01-02.");
  });

  it("is refused where steps along more directions moved more", () => {
    const more = { ...result, rows: [...result.rows, step("device", 8, 1), step("host", 8, 1, 4), step("disk", 8, 1)] };
    expect(() => block("probesBlock", more)).toThrow("other bytes: 3145728, 4194304");
  });
});

describe("the table of what several probes are predicted to cost", () => {
  const row = (gpu: string, batch: number, to: string, from: readonly (number | null)[], uploaded = 2 ** 31) => ({
    ...{ model: "M", gpu, to, batch, seq: 2048, computes: from[0], repaid: from[1] },
    steps: [
      { directions: 1, secondsPerPass: 0.5, ratio: 2, bytes: { uploaded, offloaded: 2 ** 30 } },
      { directions: 2, secondsPerPass: 0.375, ratio: 1.5, bytes: { uploaded: 2 ** 31, offloaded: 2 ** 30 } },
    ],
  });
  const result = {
    ...about,
    ...{ type: "fp16", directions: [1, 2], shapes: ["1x2048", "16x2048"], near: 0.05 },
    held: { unitBytes: 2 ** 30, slots: 3 },
    gpus: { "rtx-4090": "RTX 4090", h100: "H100 SXM", other: "OTHER" },
    sources: ["NVIDIA a whitepaper, 70 % of its operations; A data sheet for the disk", "A data sheet for the disk"],
    rows: ["rtx-4090", "h100", "other"].flatMap((gpu, g) => [
      row(gpu, 1, "host", [1, 2]),
      row(gpu, 16, "disk", [g === 2 ? 2 : null, null]),
    ]),
  };

  it("holds every case on every GPU, and seconds of the first batch", () => {
    const made = block("probesPlanBlock", result);
    expect(cells(made)).toEqual(
      expect.arrayContaining([
        ["M", "1 x 2,048", "host memory", "2.0 / 1.0", "1 / 2", "1 / 2", "1 / 2"],
        ["M", "16 x 2,048", "disk", "2.0 / 1.0", "> 2 / > 2", "> 2 / > 2", "2 / > 2"],
        ["M", "host memory", "H100 SXM", "0.500", "0.375", "0.250", "0.250"],
      ]),
    );
    expect(made).toContain("**Predictions**");
    expect(made).toContain("Figures: NVIDIA a whitepaper, A data sheet for the disk.");
  });

  it("is refused where more directions move more", () => {
    const rows = [row("rtx-4090", 1, "host", [1, 1], 2 ** 30)];
    expect(() => block("probesPlanBlock", { ...result, rows })).toThrow("other bytes: 1073741824, 2147483648");
  });
});
