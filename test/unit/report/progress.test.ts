import { plainLine, Progress, progressLine, type ProgressState } from "../../../src/report/progress.js";

const state: ProgressState = {
  done: 120,
  steps: 500,
  loss: 0.5412,
  tokensPerSecond: 8123,
  deviceBytes: 6.1 * 2 ** 20,
  secondsLeft: 62,
  skipped: 0,
};

/** A stream that is no terminal, a clock, and steps of one second. */
function plainRun(steps: number, plainSeconds: number) {
  const lines: string[] = [];
  let time = 100;
  const progress = new Progress({
    steps,
    plainSeconds,
    stream: { write: (text: string) => lines.push(text) },
    now: () => time,
  });
  const step = (loss: number, seconds = 1) => {
    time += seconds;
    progress.step({ loss, tokens: 50, deviceBytes: 1024 });
  };
  const wait = (seconds: number) => (time += seconds);
  return { lines, progress, step, wait };
}

test("a plain line says step, loss, tokens a second, device memory and time left", () => {
  expect(plainLine(state)).toBe("step 120/500  loss 0.5412  8,123 tokens/s  device 6.1 MiB  1 min 02 s left");
});

test("the last line says that it is done", () => {
  expect(plainLine({ ...state, done: 500, secondsLeft: 0 })).toMatch(/^step 500\/500 .* {2}done$/);
});

test("all of it fits beside a bar in 80 columns", () => {
  const line = progressLine(state, { width: 80, unicode: false, color: false });
  expect(line).toBe(
    `120/500  ${"####..............".slice(0, line.indexOf("  loss") - 9)}  loss 0.5412  8,123 tok/s  6.1 MiB  ` +
      "1 min 02 s left",
  );
  expect(line.length).toBeLessThan(80);
});

test("no line is wider than the terminal, whatever its width", () => {
  for (let width = 8; width <= 200; width++) {
    const line = progressLine(state, { width, unicode: true, color: false });
    expect(line.length).toBeLessThan(width);
    expect(line.startsWith("120/500")).toBe(true);
  }
});

test("without a terminal the first and the last step have a line, and those between one every so often", () => {
  const { lines, progress, step } = plainRun(25, 10);
  for (let i = 0; i < 25; i++) step(1);
  progress.stop();
  expect(lines.map((line) => /step (\d+)\//.exec(line)?.[1])).toEqual(["1", "11", "21", "25"]);
  expect(lines.join("")).not.toContain("\u001b");
});

test("a run that ends early still shows its last step, once", () => {
  const { lines, progress, step } = plainRun(100, 10);
  for (let i = 0; i < 4; i++) step(1);
  progress.stop();
  progress.stop();
  expect(lines.map((line) => /step (\d+)\//.exec(line)?.[1])).toEqual(["1", "4"]);
});

test("the loss is a mean over the last steps, unbiased from the first on", () => {
  const { progress, step } = plainRun(1000, 1e9);
  step(8);
  expect(progress.state.loss).toBeCloseTo(8, 12);
  for (let i = 0; i < 300; i++) step(2);
  expect(progress.state.loss).toBeCloseTo(2, 5);
  step(NaN);
  expect(progress.state.loss).toBeCloseTo(2, 5);
});

test("rate and time left follow the clock, and leave out what is no step", () => {
  const { progress, step, wait } = plainRun(11, 1e9);
  step(1);
  wait(500);
  progress.resume();
  step(1);
  expect(progress.state.tokensPerSecond).toBeCloseTo(50, 9);
  expect(progress.state.secondsLeft).toBeCloseTo(9, 9);
  for (let i = 0; i < 9; i++) step(1);
  expect(progress.state.secondsLeft).toBe(0);
});

test("in a terminal a bar is drawn on one line, and a remark stands on a line of its own", () => {
  let text = "";
  const stream = {
    isTTY: true,
    columns: 80,
    write: (part: string) => ((text += part), true),
    cork() {},
    uncork() {},
    on() {},
    once() {},
    emit() {},
  };
  const progress = new Progress({ steps: 3, stream, look: { width: 80, unicode: true, color: false }, now: () => 0 });
  progress.step({ loss: 1, tokens: 1, deviceBytes: 1 });
  progress.note("evaluation after step 1");
  progress.step({ loss: 1, tokens: 1, deviceBytes: 1 });
  progress.stop();
  expect(text).toContain("█");
  expect(text).toContain("evaluation after step 1\n");
  expect(text).toContain("2/3");
  // The cursor is shown again, and nothing is left running that would hold the process.
  expect(text.lastIndexOf("\u001b[?25h")).toBeGreaterThan(text.lastIndexOf("\u001b[?25l"));
});

test("a run that goes on counts the steps that another process has taken, and their time is not to come", () => {
  const { lines, progress, step } = plainRun(10, 1000);
  progress.startAt(7);
  step(1);
  expect(progress.state).toMatchObject({ done: 8, steps: 10, secondsLeft: 2 });
  expect(lines[0]).toMatch(/^step 8\/10 /);
});
