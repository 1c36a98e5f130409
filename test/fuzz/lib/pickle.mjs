/** Pickles cut into their instructions, so that mutated ones are read further than their first wrong byte. */
import { interestingInteger, mutateBytes } from "./bytes.mjs";

/** What follows an opcode: a number of bytes, a number of lines, or a length (of so many bytes) and as many bytes. */
const ARGUMENTS = new Map();
for (const [form, opcodes] of [
  [{ bytes: 1 }, "K\x80\x82hq"],
  [{ bytes: 2 }, "M\x83"],
  [{ bytes: 4 }, "J\x84jr"],
  [{ bytes: 8 }, "G\x95"],
  [{ lines: 1 }, "FILSVgpP"],
  [{ lines: 2 }, "ci"],
  [{ length: 1 }, "CU\x8a\x8c"],
  [{ length: 4 }, "BTX\x8b"],
  [{ length: 8 }, "\x8d\x8e\x96"],
  [{ bytes: 0 }, ".0()125NQRabdel]stou}\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94\x97\x98"],
]) {
  for (const opcode of opcodes) ARGUMENTS.set(opcode.charCodeAt(0), form);
}

function endOf(bytes, at) {
  const form = ARGUMENTS.get(bytes[at]);
  if (form === undefined) return undefined;
  if (form.bytes !== undefined) return at + 1 + form.bytes;
  if (form.lines !== undefined) {
    let end = at;
    for (let left = form.lines; left > 0; left--) {
      end = bytes.indexOf(10, end + 1);
      if (end < 0) return undefined;
    }
    return end + 1;
  }
  let length = 0;
  for (let i = form.length - 1; i >= 0; i--) length = length * 256 + (bytes[at + 1 + i] ?? 0);
  return at + 1 + form.length + length;
}

/** The instructions of a pickle; what cannot be read is one last piece. */
export function instructionsOf(bytes) {
  const instructions = [];
  let at = 0;
  while (at < bytes.length) {
    const end = endOf(bytes, at);
    if (end === undefined || end > bytes.length) break;
    instructions.push(bytes.subarray(at, end));
    at = end;
  }
  if (at < bytes.length) instructions.push(bytes.subarray(at));
  return instructions;
}

/** One instruction with another argument of the right form. */
function mutateArgument(instruction, random, context) {
  const form = ARGUMENTS.get(instruction[0]);
  const head = instruction.subarray(0, 1);
  if (form === undefined || form.bytes === 0) return Buffer.from([random.pick([...ARGUMENTS.keys()])]);
  if (form.bytes !== undefined) {
    const argument = Buffer.alloc(8);
    argument.writeBigUInt64LE(
      BigInt.asUintN(
        64,
        random.chance(0.5) ? interestingInteger(random) : BigInt(random.below(random.chance(0.7) ? 12 : 300)),
      ),
    );
    return Buffer.concat([head, argument.subarray(0, form.bytes)]);
  }
  const words = context.dictionary.filter((word) => typeof word === "string");
  if (form.lines !== undefined) {
    const lines = Array.from({ length: form.lines }, () =>
      String(random.chance(0.7) ? random.pick(words) : interestingInteger(random)),
    );
    return Buffer.concat([head, Buffer.from(`${lines.join("\n")}\n`)]);
  }
  const body = random.chance(0.6)
    ? Buffer.from(random.pick(words))
    : mutateBytes(Buffer.from(instruction.subarray(1 + form.length)), random, context);
  const length = Buffer.alloc(8);
  length.writeUInt32LE(random.chance(0.9) ? body.length : random.word());
  return Buffer.concat([head, length.subarray(0, form.length), form.length === 1 ? body.subarray(0, 255) : body]);
}

/** Opcodes of the integers in shapes, strides and offsets. */
const INTEGERS = new Set(["K", "M", "J", "\x8a"].map((opcode) => opcode.charCodeAt(0)));

/** An instruction to change: half of the time an integer, which are few among all that a pickle has. */
function pickInstruction(instructions, random) {
  const integers = [...instructions.keys()].filter((i) => INTEGERS.has(instructions[i][0]));
  return integers.length > 0 && random.chance(0.5) ? random.pick(integers) : random.below(instructions.length);
}

/** @returns {Buffer} */
export function mutatePickle(bytes, random, context) {
  const instructions = instructionsOf(bytes);
  for (let left = 1 + random.below(4); left > 0 && instructions.length > 0; left--) {
    const at = pickInstruction(instructions, random);
    const choice = random.below(8);
    if (choice < 4) instructions[at] = mutateArgument(instructions[at], random, context);
    else if (choice === 4) instructions.splice(at, random.length(4));
    else if (choice === 5)
      instructions.splice(at, 0, ...instructions.slice(at, at + random.length(instructions.length - at)).slice(0, 64));
    else if (choice === 6) [instructions[at], instructions[0]] = [instructions[0], instructions[at]];
    else instructions.splice(at, 0, Buffer.from([random.pick([...ARGUMENTS.keys()])]));
  }
  return Buffer.concat(instructions);
}
