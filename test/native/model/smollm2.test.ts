import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { loadModel } from "../../../src/load.js";
import type { Model } from "../../../src/model.js";
import { DEVICE } from "../device.js";
import { readJson } from "./helpers.js";

interface Text {
  name: string;
  text: string;
  ids: number[];
  top10_ids: number[][];
  top10_logits: number[][];
  logsumexp: number[];
  token_nll: number[];
  total_nll: number;
}
interface Continuation {
  kind: string;
  prompt: string;
  prompt_ids: number[];
  ids: number[];
  text: string;
  stopped_at_eos: boolean;
}

interface HeaderEntry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

/** Tolerances of transformers' own values for an independent fp32 implementation. */
const LOGIT = 2e-3;
const TOTAL_NLL = 1e-2;

const folder = process.env.ZO2_SMOLLM2 ?? "";
const given = folder !== "";
const reason = given ? folder : "skipped: ZO2_SMOLLM2 does not name the folder of SmolLM2-135M-Instruct";

(given ? describe : describe.skip)(`SmolLM2-135M-Instruct (${reason})`, () => {
  const texts: Text[] = readJson("smollm2", "logits.json").texts;
  const cases: Continuation[] = readJson("smollm2", "greedy.json").cases;
  let model: Model;
  beforeAll(async () => {
    model = await loadModel(folder, { device: DEVICE, offload: { to: "host", slots: 2, unitBytes: "8MiB" } });
  });
  afterAll(() => model.dispose());

  it("is streamed in units of which the device holds two at a time, all tensors used", () => {
    expect(model.parameterCount).toBe(134_515_008);
    expect(model.unusedTensors).toEqual([]);
    const { units } = model.plan(64);
    expect(units.every(({ tier, bytes }) => tier === "host" && bytes <= 2 ** 23)).toBe(true);
    expect(units.length).toBeGreaterThan(30);
  });

  it.each(texts)(
    "gives transformers' ids, logits and log-sum-exp at every position of the text $name",
    async (reference) => {
      const { text, ids, top10_ids, top10_logits, logsumexp } = reference;
      expect(model.tokenizer!.encode(text)).toEqual(ids);
      const logits = await model.logits(ids);
      let worst = 0;
      ids.forEach((_, t) => {
        const row = logits.subarray(t * model.vocabSize, (t + 1) * model.vocabSize);
        top10_ids[t].forEach((id, k) => (worst = Math.max(worst, Math.abs(row[id] - top10_logits[t][k]))));
        // The best ten of the whole vocabulary are those: no other is above the last of them.
        const last = Math.min(...top10_logits[t]) + LOGIT;
        expect(row.reduce((count, l) => count + (l > last ? 1 : 0), 0)).toBeLessThanOrEqual(10);
        const most = row.reduce((a, b) => Math.max(a, b), -Infinity);
        const sum = row.reduce((s, l) => s + Math.exp(l - most), 0);
        worst = Math.max(worst, Math.abs(most + Math.log(sum) - logsumexp[t]));
      });
      expect(worst).toBeLessThan(LOGIT);
      expect(worst).toBeGreaterThan(0);
    },
  );

  it("scores the texts as transformers does: every token within 2e-3, the whole within 1e-2", async () => {
    let at = 0;
    for await (const score of model.score(texts.map(({ text }) => ({ text })))) {
      const { ids, token_nll, total_nll } = texts[at++];
      expect(score.ids).toEqual(ids);
      expect(score.logprobs[0]).toBeNull();
      token_nll.forEach((nll, t) => expect(Math.abs(nll + score.logprobs[t + 1]!)).toBeLessThan(LOGIT));
      expect(Math.abs(total_nll + score.sum)).toBeLessThan(TOTAL_NLL);
    }
    expect(at).toBe(texts.length);
  });

  it("continues a text and a chat greedily with transformers' tokens, as far as asked", async () => {
    const inputs = cases.map(({ prompt_ids }) => ({ ids: prompt_ids }));
    let at = 0;
    for await (const { ids, text, reason: ended } of model.generateAll(inputs, { maxNewTokens: 64 })) {
      const want = cases[at++];
      expect([want.kind, ended]).toEqual([want.kind, want.stopped_at_eos ? "eos" : "length"]);
      const [shown, shownText] = want.stopped_at_eos
        ? [want.ids.slice(0, -1), want.text.replace(/<\|im_end\|>$/, "")]
        : [want.ids, want.text];
      expect(ids).toEqual(shown);
      expect(text).toBe(shownText);
    }
    expect(at).toBe(2);
    expect(cases.map(({ stopped_at_eos }) => stopped_at_eos)).toEqual([true, false]);
  });

  it("streams the pieces of a text that it continues, which add up to the whole", async () => {
    const { prompt, prompt_ids, text, kind } = cases[0];
    expect(kind).toBe("plain");
    expect(model.tokenizer!.encode(prompt)).toEqual(prompt_ids);
    const generation = model.generate(prompt, { maxNewTokens: 8 });
    const pieces: string[] = [];
    for await (const piece of generation) pieces.push(piece);
    expect(pieces.length).toBeGreaterThan(3);
    expect(pieces.join("")).toBe((await generation.result()).text);
    expect(text.startsWith(pieces.join(""))).toBe(true);
  });

  it("renders the chat of the reference's prompt from its messages", async () => {
    const chat = cases.find(({ kind }) => kind === "chat")!;
    const turn = /<\|im_start\|>user\n([\s\S]*?)<\|im_end\|>/.exec(chat.prompt)![1];
    const { ids } = await model.generate({ messages: [{ role: "user", content: turn }] }, { maxNewTokens: 6 }).result();
    expect(ids).toEqual(chat.ids.slice(0, 6));
  });

  it("is saved as the file that it came from, value by value, without a head of its own", async () => {
    const out = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-smollm2-"));
    try {
      await model.save(path.join(out, "model"));
      const [saved, source] = [path.join(out, "model"), folder].map((dir) => {
        const file = fs.readFileSync(path.join(dir, "model.safetensors"));
        const length = Number(file.readBigUInt64LE(0));
        const header: Record<string, HeaderEntry> = JSON.parse(file.subarray(8, 8 + length).toString());
        return { header, data: file.subarray(8 + length) };
      });
      const names = (h: object) =>
        Object.keys(h)
          .filter((name) => name !== "__metadata__")
          .sort();
      expect(names(saved.header)).toEqual(names(source.header));
      expect(names(saved.header)).not.toContain("lm_head.weight");
      for (const name of names(source.header).filter((n) => source.header[n].shape.length === 2)) {
        const [a, b] = [saved, source].map(({ header, data }) => data.subarray(...header[name].data_offsets));
        expect([name, saved.header[name].dtype, a.equals(b)]).toEqual([name, source.header[name].dtype, true]);
      }
    } finally {
      fs.rmSync(out, { recursive: true, force: true });
    }
  });
});
