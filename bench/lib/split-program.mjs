const OPERAND_WORDS = 6;

/**
 * Cuts the words of a program ("programs" in `contract/zo2.h`) into programs of one op each, over the same operands.
 *
 * @param opcodes by the names of src/ops/table.ts
 * @returns for each op its words, its name, and its multiply-adds as 2 M N K for the symbols of a run (0 for what is no
 *   matrix product)
 */
export function splitProgram(words, opcodes) {
  const names = new Map(Object.entries(opcodes).map(([name, code]) => [code, name]));
  const [, operandCount, opCount, symbolCount] = words;
  const operandsAt = 4 + symbolCount;
  const opsAt = operandsAt + operandCount * OPERAND_WORDS;
  const before = Array.from(words.slice(0, opsAt));
  before[2] = 1;
  const operand = (index) => {
    const at = operandsAt + index * OPERAND_WORDS;
    return { rows: words[at + 3], columns: words[at + 4] };
  };
  const ops = [];
  for (let at = opsAt; ops.length < opCount; ) {
    const [code, length] = [words[at], words[at + 1]];
    const args = words.slice(at + 2, at + 2 + length);
    const what = names.get(code) ?? `op ${code}`;
    ops.push({
      what,
      words: Float64Array.from([...before, ...words.slice(at, at + 2 + length)]),
      flops: flopsOf(what, args, operand),
    });
    at += 2 + length;
  }
  return ops;
}

function flopsOf(what, args, operand) {
  if (what !== "linear" && what !== "crossEntropy") return () => 0;
  // linear: out, x, weight, ...; crossEntropy: logprob, state, x, weight, ...
  const first = what === "linear" ? 1 : 2;
  const [x, weight] = [operand(args[first]), operand(args[first + 1])];
  const rowsOf = (symbols) => (x.rows < 0 ? symbols[-1 - x.rows] : x.rows);
  return (symbols) => 2 * rowsOf(symbols) * weight.rows * weight.columns;
}
