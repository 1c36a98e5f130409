import { cleanUp } from "../checkpoint/support.js";
import { fixtureEdges, fixtureRows, fixtureTokenizer, NAMES } from "./support.js";

afterAll(cleanUp);

describe.each(NAMES)("the tokenizer of %s", (name) => {
  test("gives the ids and texts of the reference, row by row", async () => {
    const tokenizer = await fixtureTokenizer(name);
    const rows = await fixtureRows(name);
    expect(rows.length).toBeGreaterThanOrEqual(15);
    for (const row of rows) {
      expect({ text: row.text, ids: tokenizer.encode(row.text, { addSpecialTokens: false }) }).toEqual({
        text: row.text,
        ids: row.ids,
      });
      expect({ text: row.text, ids: tokenizer.encode(row.text) }).toEqual({
        text: row.text,
        ids: row.ids_with_special,
      });
      expect(tokenizer.decode(row.ids)).toBe(row.decoded);
      expect(tokenizer.decode(row.ids_with_special, { skipSpecialTokens: true })).toBe(row.decoded_skip_special);
    }
  });
});

describe.each(["llama2", "llama3", "qwen3", "smollm2"] as const)("the tokenizer of %s, at the edges", (name) => {
  test("splits Unicode's blanks, numbers and byte order marks as the Rust library does", async () => {
    const tokenizer = await fixtureTokenizer(name);
    const { texts } = await fixtureEdges(name);
    for (const { text, ids } of texts) expect({ text, ids: tokenizer.encode(text) }).toEqual({ text, ids });
  });

  test("decodes lists of ids that no text has, some of them no UTF-8, as the Rust library does", async () => {
    const tokenizer = await fixtureTokenizer(name);
    const { lists } = await fixtureEdges(name);
    expect(lists.filter(({ decoded }) => decoded.includes("\ufffd")).length).toBeGreaterThan(10);
    for (const { ids, decoded, decoded_skip_special } of lists) {
      expect({ ids, text: tokenizer.decode(ids) }).toEqual({ ids, text: decoded });
      expect({ ids, text: tokenizer.decode(ids, { skipSpecialTokens: true }) }).toEqual({
        ids,
        text: decoded_skip_special,
      });
    }
  });
});

test(
  "blanks before punctuation stay although Llama 3's config asks for their removal, as in transformers for every " +
    "BPE",
  async () => {
    const tokenizer = await fixtureTokenizer("llama3");
    const text = "so good , is n't it ?";
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
  },
);
