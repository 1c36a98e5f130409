/** A step whose losses the caller computes: what it is shown, in which order, and what becomes of what it says. */
import type { LogitOutput, ObjectiveContext, TextOutput } from "../../../src/config/objective.js";
import type { Example } from "../../../src/data/index.js";
import type { Loaded } from "../../../src/loaded.js";
import type { Batch } from "../../../src/memory/batch-tables.js";
import { METHODS } from "../../../src/method/index.js";
import { objectiveStep } from "../../../src/train/objective-step.js";
import type { Objective } from "../../../src/train/prompts.js";
import type { StepRequest } from "../../../src/device/requests.js";
import { failure } from "../checkpoint/support.js";
import { spellingTokenizer } from "../data/support.js";
import { tokenSession } from "../generate/support.js";

const COLUMNS = 4;
const MEZO = METHODS["mezo-sgd"];
const request = { ...{ seed: 4n, step: 7, eps: 0.5, noise: "gaussian" }, ...MEZO.step({ eps: 0.5, directions: 1 }) };
const ids = [[3, 9, 4], [7], [1, 2, 3, 5], [8, 8]];
const prompt = (own: number[], i: number): Example => ({
  ...{ kind: "prompt", place: `train.jsonl:${i + 1}`, prompt: { ids: own }, record: { line: i } },
});

/** Logits whose first column says the probe, and the others token, position and micro-batch. */
function logitsOf(batch: Batch, probe: number): Float32Array[] {
  return batch.map(({ headRows, tokens, positions }, m) =>
    Float32Array.from([...headRows].flatMap((row) => [probe, tokens[row], positions[row], m])),
  );
}

async function step(
  objective: Partial<Objective> & Pick<Objective, "from">,
  o: { examples?: Example[]; items?: number; tokens?: number; maxLength?: number } = {},
) {
  const finished: (readonly number[])[] = [];
  const batches: Batch[] = [];
  const session = {
    ...tokenSession(50, (seen) => (seen.at(-1) ?? 0) + 1).session,
    recording: { logits: { columns: COLUMNS } },
    probe: async (batch: Batch, asked: StepRequest) => {
      expect(asked).toBe(request);
      batches.push(batch);
      return request.probes.map((_, p) => logitsOf(batch, p));
    },
    finish: async (asked: StepRequest, losses: readonly number[]) => {
      expect(asked).toBe(request);
      finished.push(losses);
      return { losses, coefficients: [1.25] };
    },
  };
  const definition = { head: { kind: "causal" }, vocabSize: 2000, maxPositions: 64 };
  const loaded = { ...{ session, tokenizer: spellingTokenizer(), dir: "/none", config: {}, definition, options: {} } };
  const { items = 16, tokens = 100, maxLength = 8, examples = ids.map(prompt) } = o;
  const result = await objectiveStep(
    loaded as unknown as Loaded,
    { maxBytes: 1 << 20, ...objective } as Objective,
    examples,
    { maxLength, limits: { items, tokens } },
    request as unknown as StepRequest,
  );
  return { ...result, finished, batches };
}

interface Heard {
  readonly context: ObjectiveContext;
  readonly outputs: readonly LogitOutput[];
}

function hearing(losses: readonly unknown[] = [2.5, 1]) {
  const heard: Heard[] = [];
  const loss = (outputs: readonly LogitOutput[], context: ObjectiveContext) =>
    losses[heard.push({ outputs, context }) - 1] as number;
  return { heard, loss };
}

describe("over logits", () => {
  it.each([
    [{}, [4]],
    [{ items: 2 }, [2, 2]],
    [{ tokens: 4 }, [2, 1, 1]],
  ])("hears each prompt's own rows, plus before minus, cut into micro-batches by %j", async (o, sizes) => {
    const { heard, loss } = hearing();
    const positions = (own: readonly number[]) => (own.length > 1 ? [0, own.length - 1] : [0]);
    const { outcome, tokens, finished, batches } = await step({ from: "logits", loss, positions }, o);
    expect(heard.map(({ context }) => context)).toEqual([
      { step: 7, branch: "plus", direction: 0 },
      { step: 7, branch: "minus", direction: 0 },
    ]);
    expect(batches[0].map(({ sequences }) => sequences.length / 5)).toEqual(sizes);
    const microOf = sizes.flatMap((size, m) => new Array<number>(size).fill(m));
    heard.forEach(({ outputs }, probe) => {
      expect(outputs).toEqual(
        ids.map((own, i) => ({
          ...{ record: { line: i }, ids: own, positions: positions(own) },
          logits: positions(own).map((p) => Float32Array.of(probe, own[p], p, microOf[i])),
        })),
      );
    });
    expect(finished).toEqual([[2.5, 1]]);
    expect({ outcome, tokens }).toEqual({ outcome: { losses: [2.5, 1], coefficients: [1.25] }, tokens: 10 });
  });

  it("is about the last token unless it says otherwise, and is told the record when it is asked", async () => {
    const { heard, loss } = hearing();
    await step({ from: "logits", loss });
    expect(heard[0].outputs.map(({ positions, logits }) => [positions, logits[0][1]])).toEqual([
      [[2], 4],
      [[0], 7],
      [[3], 5],
      [[1], 8],
    ]);
    const records: unknown[] = [];
    const positions = (_: readonly number[], record: unknown) => [records.push(record) * 0];
    await step({ from: "logits", loss: () => 1, positions });
    expect(records).toEqual(ids.map((_, line) => ({ line })));
  });

  it.each([
    [[], "gave [];"],
    [[1, 1], "gave [ 1, 1 ];"],
    [[2, 1], "gave [ 2, 1 ];"],
    [[3], "must give tokens 0 to 2"],
    [[-1], "gave [ -1 ];"],
    [[0.5], "gave [ 0.5 ];"],
    [0, "gave 0;"],
  ])("may not be about %j of three tokens", async (given, message) => {
    const positions = () => given as number[];
    await expect(step({ from: "logits", loss: () => 1, positions })).rejects.toThrow(
      failure("ZO2_ERR_INVALID_ARGUMENT", "objective.positions of example 0", message),
    );
  });

  it("takes as many bytes as it may, of both probes together, and not one more", async () => {
    const bytes = 4 * COLUMNS * 4 * 2;
    expect((await step({ from: "logits", loss: () => 1, maxBytes: bytes })).finished).toHaveLength(1);
    await expect(step({ from: "logits", loss: () => 1, maxBytes: bytes - 1 })).rejects.toThrow(
      failure("ZO2_ERR_MEMORY_BUDGET", `asks for ${bytes} B of logits a step`),
    );
  });

  it.each([
    [[Number.NaN, 1], "plus", "NaN"],
    [[1, Infinity], "minus", "Infinity"],
    [["1", 1], "plus", "1"],
    [[1, undefined], "minus", "undefined"],
  ])("whose losses are %p is refused at %s, and takes no step", async (losses, branch, said) => {
    const { heard, loss } = hearing(losses);
    await expect(step({ from: "logits", loss })).rejects.toThrow(
      failure("ZO2_ERR_NOT_FINITE", `step 7, branch ${branch} of direction 0: the objective returned ${said};`),
    );
    expect(heard).toHaveLength(branch === "plus" ? 1 : 2);
  });

  it("waits for a loss that is promised", async () => {
    const loss = async (_: unknown, { branch }: ObjectiveContext) => {
      await new Promise((resolve) => setTimeout(resolve, 2));
      return branch === "plus" ? 3 : 4;
    };
    expect((await step({ from: "logits", loss })).finished).toEqual([[3, 4]]);
  });
});

it("over text hears what was written, and the tokens of one probe are those that count", async () => {
  const heard: { outputs: readonly TextOutput[]; context: ObjectiveContext }[] = [];
  const loss = (outputs: readonly TextOutput[], context: ObjectiveContext) =>
    heard.push({ outputs, context }) === 1 ? 5 : 6;
  const generate = {
    maxNewTokens: 3,
    temperature: 0,
    seed: 0n,
    stop: [],
    ignoreEos: true,
    batchSize: 3,
    cache: "auto",
  };
  const { finished, tokens } = await step({ from: "text", loss, generate } as never);
  expect(finished).toEqual([[5, 6]]);
  expect(tokens).toBe(10 + 4 * 3);
  expect(heard.map(({ context }) => context.branch)).toEqual(["plus", "minus"]);
  for (const { outputs } of heard)
    expect(outputs.map(({ ids: own, generated, record }) => [own, generated, record])).toEqual(
      ids.map((own, line) => [own, [1, 2, 3].map((i) => (own.at(-1) ?? 0) + i), { line }]),
    );
});

describe("prompts", () => {
  const { loss } = hearing();
  const text = (t: string): Example => ({ kind: "prompt", place: "p", prompt: { text: t }, record: {} });

  it("may have as many tokens as a sequence, and not one more", async () => {
    expect((await step({ from: "logits", loss: () => 1 }, { examples: [text("abcdefg")] })).tokens).toBe(8);
    await expect(step({ from: "logits", loss }, { examples: [text("abcdefgh")] })).rejects.toMatchObject({
      code: "ZO2_ERR_LENGTH",
    });
  });

  it("are all that an objective takes", async () => {
    const example: Example = { kind: "ids", ids: [1, 2], place: "train.jsonl:9" };
    await expect(step({ from: "logits", loss }, { examples: [example] })).rejects.toThrow(
      failure("ZO2_ERR_DATA", "train.jsonl:9: is no prompt of an objective"),
    );
  });
});
