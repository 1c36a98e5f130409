import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zo2 } from "./fake.js";

let dir: string;
beforeEach(async () => (dir = await mkdtemp(join(tmpdir(), "zo2-cli-"))));
afterEach(() => rm(dir, { recursive: true, force: true }));

describe("generate", () => {
  test("prints the text as it comes, and hands every flag on", async () => {
    const { out, code, named, err } = await zo2([
      "generate",
      "--model",
      "m",
      "--prompt",
      "Once",
      ...(
        "--max-new-tokens 9 --temperature 0.5 --top-k 4 --top-p 0.9 --seed 18446744073709551615 --ignore-eos " +
        "--cache host --batch-size 3 --quiet"
      ).split(" "),
      "--stop",
      "\n",
      "END",
    ]);
    expect({ out, code, err }).toEqual({ out: "one two three\n", code: 0, err: "" });
    expect(named("generate")).toEqual([
      [
        { text: "Once", place: "--prompt" },
        {
          maxNewTokens: 9,
          temperature: 0.5,
          topK: 4,
          topP: 0.9,
          seed: 2n ** 64n - 1n,
          stop: ["\n", "END"],
          ignoreEos: true,
          batchSize: 3,
          cache: "host",
        },
      ],
    ]);
    expect(named("dispose")).toHaveLength(1);
  });

  test("a chat is one turn of the user, behind what the system says", async () => {
    const { named } = await zo2(["generate", "--model", "m", "--chat", "Hi", "--system", "Be brief"]);
    expect(named("generate")).toEqual([
      [
        {
          messages: [
            { role: "system", content: "Be brief" },
            { role: "user", content: "Hi" },
          ],
          place: "--chat",
        },
        {},
      ],
    ]);
    expect((await zo2(["generate", "--model", "m", "--chat", "Hi"])).named("generate")).toMatchObject([
      [{ messages: [{ role: "user", content: "Hi" }] }, {}],
    ]);
  });

  test("--json prints one line of JSON instead", async () => {
    const { out } = await zo2(["generate", "--model", "m", "--prompt", "Once", "--json"]);
    expect(out).toBe('{"ids":[1,2,3],"text":"one two three","reason":"eos"}\n');
  });

  test("Ctrl-C ends it with 130 on a line of its own, and frees the model", async () => {
    const { out, code, err, named } = await zo2(["generate", "--model", "m", "--prompt", "Once", "--quiet"], {
      abortAfter: 2,
    });
    expect({ out, code, err }).toEqual({ out: "one two\n", code: 130, err: "ZO2_ERR_ABORTED: stopped after 2\n" });
    expect(named("dispose")).toHaveLength(1);
  });

  test("answers lines in order, and refuses a bad one by its place after the answers to those before", async () => {
    const { out, err, code, named } = await zo2(
      ["generate", "--model", "m", "--jsonl", "--max-new-tokens", "5", "--quiet"],
      { stdin: ['{"ids": [5, 6]}\n{"id', 's": [7]}\n{"ids": []}\n'] },
    );
    expect(out).toBe('{"ids":[5,6],"text":null,"reason":"length"}\n{"ids":[7],"text":null,"reason":"length"}\n');
    expect(err).toMatch(/^ZO2_ERR_DATA: stdin:3: /);
    expect(code).toBe(1);
    expect(named("generateAll")).toEqual([[{ maxNewTokens: 5 }]]);
  });

  test("reads lines from --input", async () => {
    const path = join(dir, "prompts.jsonl");
    await writeFile(path, '{"ids": [9]}\n');
    expect((await zo2(["generate", "--model", "m", "--input", path])).out).toBe(
      '{"ids":[9],"text":null,"reason":"length"}\n',
    );
  });

  test("the help says what shared flags mean here", async () => {
    const { out } = await zo2(["generate", "--help"]);
    expect(out).toMatch(/--prompt <text> +the text to continue/);
    expect((await zo2(["eval", "--help"])).out).toMatch(/--prompt <text> +prompt with/);
  });
});
