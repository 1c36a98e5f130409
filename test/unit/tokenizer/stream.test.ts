import { TextStopper } from "../../../src/tokenizer/stop.js";
import { textStreams } from "../../../src/tokenizer/decoder.js";
import { StreamDecoder } from "../../../src/tokenizer/stream.js";
import { cleanUp, failure } from "../checkpoint/support.js";
import { lcg, spellingTokenizer } from "../data/support.js";
import { fixtureEdges, fixtureRows, fixtureTokenizer, NAMES } from "./support.js";

afterAll(cleanUp);

function pieces(decoder: StreamDecoder, ids: readonly number[]): string[] {
  return [...ids.map((id) => decoder.push(id)), decoder.end()];
}

describe.each(NAMES)("a stream of %s's ids", (name) => {
  test("gives pieces that join to the decoded text, none of which the ids to come could change", async () => {
    const tokenizer = await fixtureTokenizer(name);
    const rows = (await fixtureRows(name)).flatMap((row) => [row.ids, row.ids_with_special]);
    const lists = name === "gpt2" || name === "tiny-opt" ? [] : (await fixtureEdges(name)).lists.map(({ ids }) => ids);
    for (const ids of [...rows, ...lists]) {
      for (const skipSpecialTokens of [true, false]) {
        const whole = tokenizer.decode(ids, { skipSpecialTokens });
        const parts = pieces(new StreamDecoder(tokenizer, { skipSpecialTokens }), ids);
        expect({ ids, text: parts.join("") }).toEqual({ ids, text: whole });
        for (const part of parts) expect(Buffer.from(part).toString()).toBe(part);
      }
    }
  });

  test("holds back no more than a character or a run of byte tokens", async () => {
    const tokenizer = await fixtureTokenizer(name);
    const decoder = new StreamDecoder(tokenizer);
    const ids = tokenizer.encode("It was a good film, and naïve", { addSpecialTokens: false });
    const first = ids
      .slice(0, -1)
      .map((id) => decoder.push(id))
      .join("");
    expect(first.startsWith("It was a good film, and")).toBe(true);
  });
});

describe("a stream decoder", () => {
  test("gives a character of several tokens whole, with the token that completes it", async () => {
    for (const name of ["gpt2", "smollm2"] as const) {
      const tokenizer = await fixtureTokenizer(name);
      const ids = tokenizer.encode("𝒜", { addSpecialTokens: false });
      expect(ids.length).toBeGreaterThan(1);
      expect(pieces(new StreamDecoder(tokenizer), ids)).toEqual([...ids.slice(1).map(() => ""), "𝒜", ""]);
    }
  });

  test("leaves out SentencePiece's leading blank once, and keeps the others", async () => {
    const tokenizer = await fixtureTokenizer("llama2");
    const ids = tokenizer.encode(" a b", { addSpecialTokens: false });
    expect(pieces(new StreamDecoder(tokenizer), ids).join("")).toBe(" a b");
  });

  test("refuses ids outside the vocabulary and ids after the end", async () => {
    const decoder = new StreamDecoder(await fixtureTokenizer("tiny-opt"));
    expect(() => decoder.push(4096)).toThrow(failure("ZO2_ERR_INVALID_ARGUMENT", "the id is 4096"));
    decoder.end();
    expect(decoder.end()).toBe("");
    expect(() => decoder.push(5)).toThrow(failure("ZO2_ERR_INVALID_ARGUMENT", "came after the end"));
  });

  test("waits for the end where a tokenizer cannot decode piece by piece", () => {
    const decoder = new StreamDecoder(
      {
        ...spellingTokenizer(),
        decode: (ids, options) => `${Array.from(ids).join("+")} ${options?.skipSpecialTokens}`,
      },
      { skipSpecialTokens: false },
    );
    expect(pieces(decoder, [3, 4])).toEqual(["", "", "3+4 false"]);
  });
});

describe("decoders of other families", () => {
  const text = (decoder: unknown, tokens: string[]) => {
    const stream = textStreams(decoder)?.();
    return stream === undefined ? undefined : `${tokens.map((token) => stream.push(token)).join("|")}|${stream.end()}`;
  };
  const replace = { type: "Replace", pattern: { String: "▁" }, content: " " };

  test("give their texts piece by piece", () => {
    expect(text({ type: "Metaspace", replacement: "▁", prepend_scheme: "always" }, ["▁a", "▁b", "c"])).toBe("a| b|c|");
    expect(text({ type: "Metaspace", replacement: "▁", prepend_scheme: "never" }, ["▁a", "▁b"])).toBe(" a| b|");
    expect(
      text({ type: "Sequence", decoders: [replace, { type: "ByteFallback" }, { type: "Fuse" }] }, [
        "▁a",
        "<0xC3>",
        "<0xA9>",
        "b",
      ]),
    ).toBe(" a|||éb|");
    expect(
      text({ type: "Sequence", decoders: [replace, { type: "Strip", content: " ", start: 1, stop: 1 }] }, [
        "▁a▁",
        "▁▁b",
      ]),
    ).toBe("a| b|");
    expect(
      text(
        { type: "Sequence", decoders: [{ type: "Fuse" }, replace, { type: "Strip", content: " ", start: 2, stop: 0 }] },
        ["▁", "▁▁b", "▁c"],
      ),
    ).toBe("| b| c|");
    expect(text(null, ["a", "b"])).toBe("a| b|");
  });

  test("a byte token that is no UTF-8 with its neighbours makes each of them a replacement character", () => {
    expect(text({ type: "ByteFallback" }, ["<0xC3>", "<0xA9>", "<0xC3>", "x", "<0xEF>", "<0xBB>", "<0xBF>"])).toBe(
      "|||\ufffd\ufffd\ufffdx||||\ufeff",
    );
  });

  test("whose text is known only at the end are not taken apart", () => {
    const strip = { type: "Strip", content: " ", start: 0, stop: 1 };
    for (const decoder of [
      { type: "WordPiece" },
      { type: "Sequence", decoders: 5 },
      { type: "Sequence", decoders: [{ type: "Fuse" }, strip] },
      5,
    ])
      expect(textStreams(decoder)).toBeUndefined();
  });
});

describe("a text with stop strings", () => {
  const run = (stops: string[], parts: string[]) => {
    const stopper = new TextStopper(stops);
    const shown = [...parts.map((part) => stopper.push(part)), stopper.end()];
    return { shown, met: stopper.met };
  };

  test("ends before the first of them, and what follows is dropped", () => {
    expect(run(["END"], ["a E", "N", "D b", "c"])).toEqual({ shown: ["a ", "", "", "", ""], met: "END" });
    expect(run(["\n\n", "."], ["one\n", "two. three\n\n"])).toEqual({ shown: ["one", "\ntwo", ""], met: "." });
  });

  test("shows what was held back when no stop string came of it", () => {
    expect(run(["END"], ["a E", "Nd", "E"])).toEqual({ shown: ["a ", "ENd", "", "E"], met: undefined });
    expect(run([], ["a", "b"])).toEqual({ shown: ["a", "b", ""], met: undefined });
    expect(run(["aab"], ["aa", "ab"])).toEqual({ shown: ["", "a", ""], met: "aab" });
  });

  test("does not end elsewhere when it comes in other pieces (2000 random texts)", () => {
    const draw = lcg(5);
    const word = (most: number) => Array.from({ length: 1 + draw(most) }, () => "abc"[draw(3)]).join("");
    for (let i = 0; i < 2000; i++) {
      const stops = Array.from({ length: 1 + draw(3) }, () => word(4));
      const text = word(12);
      const ends = stops.flatMap((stop) =>
        text.includes(stop) ? [{ at: text.indexOf(stop), end: text.indexOf(stop) + stop.length }] : [],
      );
      ends.sort((a, b) => a.end - b.end || a.at - b.at);
      const parts: string[] = [];
      for (let at = 0; at < text.length; ) parts.push(text.slice(at, (at += 1 + draw(3))));
      const { shown, met } = run(stops, parts);
      expect({ stops, text, shown: shown.join("") }).toEqual({
        stops,
        text,
        shown: ends[0] === undefined ? text : text.slice(0, ends[0].at),
      });
      expect(met !== undefined).toBe(ends.length > 0);
    }
  });

  test("needs stop strings that are not empty", () => {
    expect(() => new TextStopper(["a", ""])).toThrow(failure("ZO2_ERR_CONFIG", "stop[1] is empty"));
  });
});
