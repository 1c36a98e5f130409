/**
 * Tokens to text, as the Rust tokenizers library does it, one token at a time. The JavaScript library decodes whole
 * lists only, and differs where bytes are no UTF-8 (a run of byte tokens is one replacement character per byte) or
 * begin with a byte order mark.
 */
import { isRecord } from "../base/guards.js";

/**
 * A text that comes in pieces: those of `push` and then `end`, joined, are the whole. What was given is never taken
 * back.
 */
export interface TextStream {
  push(token: string): string;
  end(): string;
}

/** A step between tokens and text: what it makes of one more token, and what it still held at the end. */
interface Stage {
  push(token: string): readonly string[];
  end(): readonly string[];
}

type MakeStage = () => Stage;

const REPLACEMENT = "\ufffd";

/**
 * The characters by which GPT-2's byte-level vocabularies write the 256 bytes: printable ones themselves, the others
 * from U+0100 on.
 */
const BYTE_OF = new Map<string, number>();
for (let byte = 0, next = 0x100; byte < 256; byte++) {
  const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
  BYTE_OF.set(String.fromCharCode(printable ? byte : next++), byte);
}

/**
 * Makes streams for the `decoder` of a `tokenizer.json`: `ByteLevel`, `Metaspace`, and sequences of `Replace`,
 * `ByteFallback`, `Fuse` and `Strip`. Undefined for others, whose text is known only when all tokens are.
 */
export function textStreams(decoder: unknown): (() => TextStream) | undefined {
  const makers = decoder === null || decoder === undefined ? [spaced] : makersOf(decoder);
  if (makers === undefined) return undefined;
  return () => {
    const stages = makers.map((make) => make());
    return {
      push: (token) => through(stages, [token], 0),
      end: () => stages.map((stage, i) => through(stages, stage.end(), i + 1)).join(""),
    };
  };
}

function through(stages: readonly Stage[], tokens: readonly string[], from: number): string {
  let pieces = tokens;
  for (const stage of stages.slice(from)) pieces = pieces.flatMap((piece) => stage.push(piece));
  return pieces.join("");
}

function makersOf(decoder: unknown): MakeStage[] | undefined {
  const configs = isRecord(decoder) && decoder["type"] === "Sequence" ? decoder["decoders"] : [decoder];
  if (!Array.isArray(configs)) return undefined;
  const makers: MakeStage[] = [];
  let fused = false;
  for (const config of configs) {
    // Behind `Fuse` the whole text is one token, of which only pieces are seen here.
    if (isRecord(config) && config["type"] === "Fuse") {
      fused = true;
      continue;
    }
    const make = isRecord(config) ? makerOf(config, fused) : undefined;
    if (make === undefined) return undefined;
    makers.push(make);
  }
  return makers;
}

function makerOf(config: Record<string, unknown>, fused: boolean): MakeStage | undefined {
  switch (config["type"]) {
    case "ByteLevel":
      return fused ? undefined : byteLevel;
    case "ByteFallback":
      return fused ? undefined : byteFallback;
    case "Metaspace":
      return fused ? undefined : metaspace(config);
    case "Replace":
      return replace(config, fused);
    case "Strip":
      return strip(config, fused);
    default:
      return undefined;
  }
}

function each(change: (token: string, index: number) => string): MakeStage {
  return () => {
    let index = 0;
    return { push: (token) => [change(token, index++)], end: () => [] };
  };
}

/** Without a decoder tokens are words. */
const spaced = each((token, index) => (index === 0 ? token : ` ${token}`));

/**
 * Bytes that begin a character wait for the rest of it. A token with a character that is no byte's stands for itself.
 */
function byteLevel(): Stage {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return {
    push: (token) => {
      const bytes = Array.from(token, (char) => BYTE_OF.get(char));
      const whole = bytes.every((byte) => byte !== undefined)
        ? Uint8Array.from(bytes)
        : new TextEncoder().encode(token);
      return [decoder.decode(whole, { stream: true })];
    },
    end: () => [decoder.decode()],
  };
}

/**
 * A run of byte tokens waits for its end, since one wrong byte in it makes every byte of it a replacement character.
 */
function byteFallback(): Stage {
  let run: number[] = [];
  const flush = (): string[] => {
    if (run.length === 0) return [];
    const bytes = Uint8Array.from(run);
    run = [];
    try {
      return [new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)];
    } catch {
      return Array.from(bytes, () => REPLACEMENT);
    }
  };
  return {
    push: (token) => {
      const hex = /^<0x\+?([0-9A-Fa-f]{1,2})>$/.exec(token)?.[1];
      if (hex === undefined || token.length !== 6) return [...flush(), token];
      run.push(Number.parseInt(hex, 16));
      return [];
    },
    end: flush,
  };
}

function metaspace(config: Record<string, unknown>): MakeStage {
  const mark = typeof config["replacement"] === "string" ? config["replacement"] : "\u2581";
  const never = config["prepend_scheme"] === "never" || config["add_prefix_space"] === false;
  return each((token, index) => token.replaceAll(mark, index === 0 && !never ? "" : " "));
}

function replace(config: Record<string, unknown>, fused: boolean): MakeStage | undefined {
  const pattern = isRecord(config["pattern"]) ? config["pattern"]["String"] : undefined;
  const content = config["content"];
  if (typeof pattern !== "string" || pattern === "" || typeof content !== "string") return undefined;
  // A longer one could lie across two pieces of the fused text.
  if (fused && pattern.length > 1) return undefined;
  return each((token) => token.replaceAll(pattern, () => content));
}

function strip(config: Record<string, unknown>, fused: boolean): MakeStage | undefined {
  const { content, start = 0, stop = 0 } = config;
  if (typeof content !== "string" || content.length !== 1 || typeof start !== "number" || typeof stop !== "number")
    return undefined;
  if (!fused) {
    return each((token) => {
      const begin = leading(token, content, start);
      return token.slice(begin, token.length - leading([...token.slice(begin)].reverse().join(""), content, stop));
    });
  }
  if (stop > 0) return undefined;
  return () => {
    let left = start;
    return {
      push: (piece) => {
        const cut = leading(piece, content, left);
        left = cut < piece.length ? 0 : left - cut;
        return [piece.slice(cut)];
      },
      end: () => [],
    };
  };
}

/** How many characters at the front of `text`, `most` of them at most, are `char`. */
function leading(text: string, char: string, most: number): number {
  let count = 0;
  while (count < most && text[count] === char) count++;
  return count;
}
