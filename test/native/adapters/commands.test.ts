/** Commands one after another, as a user gives them: an adapter is trained, looked at, rebuilt and merged. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { DEVICE } from "../device.js";
import { zo2 } from "./helpers.js";

const root = path.join(__dirname, "../../..");
const model = path.join(root, "docs/demo/tiny-opt");
const task = ["--prompt", "{text} How is it?", "--choices", " terrible", " great", "--max-length", "64"];
const reading = [...task, "--truncation", "left", "--batch-size", "4", "--quiet", "--json", "--device", DEVICE];

let work: string;
beforeEach(() => {
  work = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-adapter-"));
});
afterEach(() => fs.rmSync(work, { recursive: true, force: true }));

it("train --lora, eval and train on with --adapter, replay, merge", async () => {
  const at = (name: string) => path.join(work, name);
  const lines = fs.readFileSync(path.join(root, "docs/demo/reviews/test.jsonl"), "utf8").split("\n");
  fs.writeFileSync(at("train.jsonl"), lines.slice(0, 12).join("\n"));
  fs.writeFileSync(at("dev.jsonl"), lines.slice(12, 20).join("\n"));
  const run = async (...args: string[]) => {
    const { code, out, err } = await zo2(...args);
    expect([code, err]).toEqual([0, ""]);
    return JSON.parse(out) as { readonly loss: number };
  };
  const losses = (...more: string[]) => run("eval", "--data", at("dev.jsonl"), ...reading, ...more);
  const training = [
    "--model",
    model,
    "--data",
    at("train.jsonl"),
    "--learning-rate",
    "1e-2",
    "--eps",
    "1e-2",
    ...reading,
  ];
  await run("train", ...training, "--lora", "4", "--steps", "3", "--out", at("tuned"));
  expect(fs.readdirSync(at("tuned")).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
  const base = await losses("--model", model);
  const tuned = await losses("--model", model, "--adapter", at("tuned"));
  expect(tuned.loss).not.toBe(base.loss);

  await run("replay", model, `${at("tuned")}.run`, "--out", at("again"), "--quiet", "--json", "--device", DEVICE);
  const weights = (name: string) => fs.readFileSync(path.join(at(name), "adapter_model.safetensors"));
  expect(weights("again").equals(weights("tuned"))).toBe(true);

  await run("train", ...training, "--adapter", at("tuned"), "--steps", "2", "--out", at("further"));
  expect(weights("further").equals(weights("tuned"))).toBe(false);
  await run("replay", model, `${at("further")}.run`, "--out", at("again"), "--quiet", "--json", "--device", DEVICE);
  expect(weights("again").equals(weights("further"))).toBe(true);

  const merging = ["--adapter", at("tuned"), "--out", at("merged"), "--save-dtype", "fp32", "--quiet", "--json"];
  await run("merge", "--model", model, ...merging);
  const merged = await losses("--model", at("merged"));
  expect(Math.abs(merged.loss / tuned.loss - 1)).toBeLessThan(1e-5);
});
