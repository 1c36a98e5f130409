/**
 * Reads a cubin: the ELF file of machine code (SASS) that nvcc makes for one architecture. The toolkit's own readers,
 * cuobjdump and nvdisasm, are not everywhere where nvcc is.
 *
 * An instruction takes 16 bytes; its lowest 12 bits say which one it is, of which the lowest 9 name the operation and
 * the others the kinds of its operands. All architectures from sm_70 to sm_120 agree on that.
 */

const INSTRUCTION_BYTES = 16;

/** Opcodes that the counting looks at: BRA, EXIT and NOP whole, the lowest 9 bits of LDG. */
const BRA = 0x947;
export const EXIT = 0x94d;
const NOP = 0x918;
const LDG = 0x181;
const LOAD_BYTES = [1, 1, 2, 2, 4, 8, 16, 16];

function text(bytes, start) {
  return bytes.toString("latin1", start, bytes.indexOf(0, start));
}

function sectionsOf(bytes) {
  if (bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46 || bytes[4] !== 2)
    throw new Error("this is no 64-bit ELF file");
  const table = Number(bytes.readBigUInt64LE(40));
  const count = bytes.readUInt16LE(60);
  const sections = Array.from({ length: count }, (_, i) => {
    const at = table + i * bytes.readUInt16LE(58);
    return {
      nameAt: bytes.readUInt32LE(at),
      type: bytes.readUInt32LE(at + 4),
      offset: Number(bytes.readBigUInt64LE(at + 24)),
      size: Number(bytes.readBigUInt64LE(at + 32)),
      link: bytes.readUInt32LE(at + 40),
    };
  });
  const names = sections[bytes.readUInt16LE(62)];
  for (const section of sections) section.name = text(bytes, names.offset + section.nameAt);
  return sections;
}

/** Bit fields of an instruction of 128 bits. */
const bits = (word, from, count) => Number((word >> BigInt(from)) & ((1n << BigInt(count)) - 1n));

/**
 * Where a branch goes. Before sm_90 its displacement from the next instruction is in bytes; since then in units of 4,
 * with the low 8 bits apart from the others.
 */
function targetOf(word, index, arch) {
  const displacement =
    arch < 90
      ? BigInt.asIntN(50, word >> 32n)
      : BigInt.asIntN(56, (((word >> 34n) & 0xffffffffffffn) << 8n) | ((word >> 16n) & 0xffn)) * 4n;
  const target = index + 1 + Number(displacement) / INSTRUCTION_BYTES;
  if (!Number.isInteger(target)) throw new Error(`instruction ${index}: a branch into the middle of an instruction`);
  return target;
}

function decode(bytes, index, arch) {
  const at = index * INSTRUCTION_BYTES;
  const word = (bytes.readBigUInt64LE(at + 8) << 64n) | bytes.readBigUInt64LE(at);
  const opcode = bits(word, 0, 12);
  // A guard predicate, and for branches another one: 7 is the one that is always true.
  const always = bits(word, 12, 4) === 7 && (opcode !== BRA || bits(word, 87, 4) === 7);
  // BRA.DIV goes to what a warp does that is not together: it is no branch of the program's.
  const branches = opcode === BRA && bits(word, 91, 1) === 0;
  return {
    opcode,
    always,
    ...(branches && { target: targetOf(word, index, arch) }),
    ...((opcode & 0x1ff) === LDG && { loadBytes: LOAD_BYTES[bits(word, 73, 3)] }),
  };
}

/** A kernel's instructions, without the padding behind the last one that ends or jumps. */
function instructionsOf(bytes, arch) {
  const list = Array.from({ length: bytes.length / INSTRUCTION_BYTES }, (_, index) => decode(bytes, index, arch));
  while (list.length > 0 && list.at(-1).opcode === NOP) list.pop();
  // A branch to itself behind the end keeps the instruction prefetch in.
  if (list.at(-1)?.opcode === BRA && list.at(-1).target === list.length - 1) list.pop();
  const astray = list.findIndex(({ target }) => target !== undefined && (target < 0 || target >= list.length));
  if (astray !== -1) throw new Error(`instruction ${astray}: a branch out of the kernel`);
  return list;
}

/** The kernels of a cubin, each {name, instructions}; the names are mangled. */
export function readCubin(bytes) {
  const arch = (bytes.readUInt32LE(48) >> 8) & 0xff;
  return sectionsOf(bytes)
    .filter(({ name }) => name.startsWith(".text."))
    .map(({ name, offset, size }) => ({
      name: name.slice(6),
      instructions: instructionsOf(bytes.subarray(offset, offset + size), arch),
    }));
}
