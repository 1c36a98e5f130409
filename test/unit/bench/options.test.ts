import { inModule } from "./modules.js";

const read = (argv: string[]) =>
  inModule(
    "bench/lib/options.mjs",
    'return m.readOptions(args[0], { rounds: 5, peer: null, stdin: false, out: "x" })',
    argv,
  );
const shapes = (text: string) => inModule("bench/lib/options.mjs", "return m.readShapes(args[0])", text);

describe("options of a bench", () => {
  it("keep their kind: numbers, switches, text", () => {
    expect(read([])).toEqual({ rounds: 5, peer: null, stdin: false, out: "x" });
    expect(read(["--rounds", "3", "--peer", "p.py", "--stdin"])).toEqual({
      rounds: 3,
      peer: "p.py",
      stdin: true,
      out: "x",
    });
  });

  it("are refused when unknown, misspelt as a number, or left over", () => {
    expect(() => read(["--round", "3"])).toThrow("--round");
    expect(() => read(["--rounds", "many"])).toThrow('--rounds is "many"');
    expect(() => read(["--rounds", ""])).toThrow("has to be a number");
    expect(() => read(["3"])).toThrow();
  });

  it("read shapes as batch and sequence", () => {
    expect(shapes("8x128, 1x512")).toEqual([
      { name: "8x128", batch: 8, seq: 128 },
      { name: "1x512", batch: 1, seq: 512 },
    ]);
    for (const wrong of ["8", "0x4", "8x", "8x128,", "x"]) expect(() => shapes(wrong)).toThrow("BATCHxSEQUENCE");
  });
});
