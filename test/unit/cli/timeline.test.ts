import { zo2 } from "./fake.js";

test("draws a step of the model that is named, with the flags of a training", async () => {
  const args = [
    "--max-length",
    "64",
    "--batch-size",
    "4",
    "--wire",
    "bf16",
    "--no-overlap",
    "--out",
    "a.html",
    "--measure",
  ];
  const { code, out, err, named } = await zo2(["timeline", "opt", ...args]);
  expect([code, err]).toEqual([0, ""]);
  expect(named("writeTimeline")).toEqual([
    [
      ...["opt", "a.html"],
      {
        ...{ maxLength: 64, batchSize: 4, measure: true },
        model: { offload: { wire: "bf16", overlap: false } },
      },
    ],
  ]);
  expect(out).toBe("a step of 512.0 ms, predicted 500.0 ms, is in a.html (1 MiB)\n");
});

test("--json has both times", async () => {
  const { out, named } = await zo2(["timeline", "opt", "--json"]);
  expect(named("writeTimeline")[0]?.[1]).toBe("timeline.html");
  expect(JSON.parse(out)).toEqual({ out: "timeline.html", bytes: 2 ** 20, predicted: 0.5, measured: 0.512 });
});

test("what is wrong is refused before anything is loaded", async () => {
  const { code, err, calls } = await zo2(["timeline", "opt", "--batch-size", "0"]);
  expect([code, calls]).toEqual([2, []]);
  expect(err).toMatch(/^ZO2_ERR_CONFIG: --batch-size is 0; must be at least 1/);
  expect((await zo2(["timeline"])).code).toBe(2);
});
