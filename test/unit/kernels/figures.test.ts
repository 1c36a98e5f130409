import { inModule } from "../bench/modules.js";

const PATHS = "scripts/kernels/paths.mjs";
const CUBIN = "scripts/kernels/cubin.mjs";
const COMPILE = "scripts/kernels/compile.mjs";
const FIGURES = "scripts/kernels/figures.mjs";

const [BRA, EXIT, NOP, FADD] = [0x947, 0x94d, 0x918, 0x221];
const plain = (n: number) => Array.from({ length: n }, () => ({ opcode: FADD, always: true }));

/** An instruction's 16 bytes: `low` and `high` halves. */
function word(low: bigint, high = 0x000fea0003800000n): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64LE(low & 0xffffffffffffffffn, 0);
  bytes.writeBigUInt64LE(high, 8);
  return bytes;
}

/** A branch as sm_80 (in bytes) and sm_90 (in units of 4, the low 8 bits apart) have it. */
function branch(arch: number, instructions: number, guard: number): Buffer {
  const low = BigInt(BRA) | (BigInt(guard) << 12n);
  const bytes = BigInt(instructions * 16);
  const full =
    arch < 90
      ? BigInt.asUintN(50, bytes) << 32n
      : (BigInt.asUintN(48, (bytes / 4n) >> 8n) << 34n) | ((BigInt.asUintN(56, bytes / 4n) & 0xffn) << 16n);
  return word(low | (full & 0xffffffffffffffffn), 0x000fea0003800000n | (full >> 64n));
}

/** An ELF file with one section of code. */
function cubin(arch: number, code: Buffer): Buffer {
  const names = Buffer.from("\0.text.one\0.shstrtab\0");
  const head = Buffer.alloc(64);
  head.writeUInt32BE(0x7f454c46, 0);
  head[4] = 2;
  head.writeBigUInt64LE(BigInt(64 + code.length + names.length), 40);
  head.writeUInt32LE((arch << 8) | 4, 48);
  head.writeUInt16LE(64, 58);
  head.writeUInt16LE(3, 60);
  head.writeUInt16LE(2, 62);
  const section = (name: number, type: number, offset: number, size: number) => {
    const entry = Buffer.alloc(64);
    entry.writeUInt32LE(name, 0);
    entry.writeUInt32LE(type, 4);
    entry.writeBigUInt64LE(BigInt(offset), 24);
    entry.writeBigUInt64LE(BigInt(size), 32);
    return entry;
  };
  return Buffer.concat([
    head,
    code,
    names,
    section(0, 0, 0, 0),
    section(1, 1, 64, code.length),
    section(11, 3, 64 + code.length, names.length),
  ]);
}

const read = (bytes: Buffer) =>
  inModule(CUBIN, "return m.readCubin(Buffer.from(args[0], 'base64'));", bytes.toString("base64"));

describe("cubin", () => {
  it.each([80, 90, 120])("reads opcodes, guards and branches of sm_%i, and drops what pads the end", (arch) => {
    const code = Buffer.concat([
      word(BigInt(FADD) | (7n << 12n)),
      branch(arch, 1, 0),
      word(BigInt(EXIT) | (7n << 12n)),
      branch(arch, -400 + 396, 7),
      word(BigInt(EXIT) | (7n << 12n)),
      branch(arch, -1, 7),
      word(BigInt(NOP) | (7n << 12n)),
    ]);
    expect(read(cubin(arch, code))).toEqual([
      {
        name: "one",
        instructions: [
          { opcode: FADD, always: true },
          { opcode: BRA, always: false, target: 3 },
          { opcode: EXIT, always: true },
          { opcode: BRA, always: true, target: 0 },
          { opcode: EXIT, always: true },
        ],
      },
    ]);
  });

  it("reads far branches of the newer encoding", () => {
    const code = Buffer.concat([branch(90, 300, 0), ...Array.from({ length: 301 }, () => word(BigInt(FADD)))]);
    const [kernel] = read(cubin(90, code)) as { instructions: { target?: number }[] }[];
    expect(kernel!.instructions[0]!.target).toBe(301);
  });

  it("refuses another file", () => {
    expect(() => read(Buffer.alloc(100))).toThrow("this is no 64-bit ELF file");
  });
});

describe("paths", () => {
  const longest = (instructions: unknown, loop: unknown) =>
    inModule(PATHS, "return m.longestPath(...args);", instructions, loop);

  it("takes the longer side of every branch, and what leaves the loop for nothing", () => {
    const instructions = [
      ...plain(2), // before the loop
      { opcode: FADD, always: true, loadBytes: 16 }, // 2: the loop begins
      { opcode: BRA, always: false, target: 6 }, // skips 4 and 5
      ...plain(2),
      { opcode: BRA, always: false, target: 12 }, // 6: leaves
      { opcode: BRA, always: true, target: 9 }, // jumps over 8
      ...plain(1),
      { opcode: BRA, always: false, target: 2 }, // 9: back
      ...plain(1),
      { opcode: EXIT, always: true },
      ...plain(1),
    ];
    expect(inModule(PATHS, "return m.loopsThatLoad(args[0], 16);", instructions)).toEqual([{ begin: 2, end: 9 }]);
    expect(longest(instructions, { begin: 2, end: 9 })).toBe(7);
  });

  it("finds the inner loop", () => {
    const instructions = [
      ...plain(1),
      { opcode: FADD, always: true, loadBytes: 16 },
      { opcode: BRA, always: false, target: 1 },
      { opcode: BRA, always: false, target: 0 },
      { opcode: EXIT, always: true },
    ];
    expect(inModule(PATHS, "return m.loopsThatLoad(args[0], 16);", instructions)).toEqual([{ begin: 1, end: 2 }]);
    expect(inModule(PATHS, "return m.loopsThatLoad(args[0], 4);", instructions)).toEqual([]);
  });
});

describe("figures", () => {
  it("reads what ptxas says, with the functions that a kernel calls", () => {
    const text = [
      "ptxas info    : Compiling entry function 'a' for 'sm_90a'",
      "ptxas info    : Function properties for a",
      "    0 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads",
      "ptxas info    : Used 40 registers, used 1 barriers, 72 bytes smem",
      "ptxas info    : Function properties for called",
      "    0 bytes stack frame, 16 bytes spill stores, 12 bytes spill loads",
      "ptxas info    : Compiling entry function 'b' for 'sm_80'",
      "ptxas info    : Used 20 registers, used 0 barriers",
    ].join("\n");
    expect(inModule(COMPILE, "return m.readVerbose(args[0]);", text)).toEqual([
      { name: "a", arch: "sm_90a", registers: 40, spillStores: 24, spillLoads: 16, shared: 72 },
      { name: "b", arch: "sm_80", registers: 20, spillStores: 0, spillLoads: 0, shared: 0 },
    ]);
  });

  it("reads dynamic shared memory from the PTX", () => {
    const ptx = ".visible .entry a(\n\t// dynamic shared memory: 1024\n.visible .entry b(\n\t// other: 5\n";
    expect(inModule(COMPILE, "return [...m.readDynamicShared(args[0])];", ptx)).toEqual([["a", 1024]]);
  });

  it("shortens names", () => {
    const name =
      "void zo2::cuda::_GLOBAL__N__66c52087_18_prepare_uniform_cu_cd058ed1::prepare_uniform_kernel<1u, 1u, " +
      "(zo2_noise_kind)0, (zo2::cuda::_GLOBAL__N__66c52087_18_prepare_uniform_cu_cd058ed1::Update)1>(zo2::X, int*)";
    expect(inModule(COMPILE, "return m.shortName(args[0]);", name)).toBe(
      "prepare_uniform<1, 1, zo2_noise_kind 0, Update 1>",
    );
  });

  const row = (figures: object) => ({
    file: "cuda/a.cu",
    kernel: "a",
    archs: {
      sm_80: { registers: 40, spill: 0, static: 72, dynamic: 0, instructions: 1000, ...figures },
    },
  });
  const compare = (now: unknown[], before: unknown[]) => inModule(FIGURES, "return m.compare(...args);", now, before);

  it("lets a kernel shrink, and have a few instructions more", () => {
    expect(compare([row({ registers: 30, instructions: 1030 })], [row({})])).toEqual([]);
  });

  it.each([
    [{ spill: 4 }, "4 bytes spilled, not 0"],
    [{ registers: 41 }, "41 registers, not 40"],
    [{ static: 80 }, "80 bytes of static shared memory, not 72"],
    [{ dynamic: 1 }, "1 bytes of dynamic shared memory, not 0"],
    [{ instructions: 1031 }, "1031 instructions, not 1000"],
  ])("reports growth: %o", (figures, text) => {
    expect(compare([row(figures)], [row({})])).toEqual([`cuda/a.cu: a for sm_80 has ${text}`]);
  });

  it("reports kernels that came and went", () => {
    expect(compare([row({})], [])).toEqual(["cuda/a.cu: a for sm_80 is not recorded"]);
    expect(compare([], [row({})])).toEqual(["cuda/a.cu: a is recorded, but is there no more"]);
  });

  it("holds prepare to its goals", () => {
    const prepare = (noise: number, group: number, spill = 0) => ({
      file: "cuda/ops/prepare_uniform.cu",
      kernel: `prepare_uniform<1, 1, zo2_noise_kind ${noise}, Update 1>`,
      archs: { sm_80: { group, spill } },
    });
    const missed = (...rows: unknown[]) => inModule(FIGURES, "return m.missedGoals(args);", ...rows);
    expect(missed(prepare(0, 720), prepare(1, 400))).toEqual([]);
    expect(missed(prepare(0, 721), prepare(1, 400, 8))).toEqual([
      expect.stringContaining("takes 721 instructions for a group, at most 720"),
      expect.stringContaining("spills 8 bytes"),
    ]);
    expect(missed(prepare(0, 700))).toEqual([expect.stringContaining("there is no prepare_uniform<1, 1, zo2_noise")]);
  });
});
