/** Counts instructions along the paths of a kernel's control flow, from what cubin.mjs reads. */
import { EXIT } from "./cubin.mjs";

/** Where control may go from instruction `i`. A predicated instruction may also do nothing. */
function successors(instructions, i) {
  const { opcode, always, target } = instructions[i];
  const next = i + 1 < instructions.length ? [i + 1] : [];
  if (opcode === EXIT) return always ? [] : next;
  if (target === undefined) return next;
  return always ? [target] : [target, ...next];
}

/** Loops as {begin, end}: from the target of a branch back to that branch; inner ones and outer ones alike. */
export function loopsOf(instructions) {
  return instructions.flatMap(({ target }, end) =>
    target !== undefined && target <= end ? [{ begin: target, end }] : [],
  );
}

/**
 * Instructions on the longest way once through a loop, from its first one to the branch back, `end` included. What
 * leaves the loop on the way counts for nothing. Branches back inside of it, of inner loops, are taken to be never
 * taken.
 */
export function longestPath(instructions, { begin, end }) {
  const longest = new Map([[begin, 1]]);
  for (let i = begin; i < end; i++) {
    const length = longest.get(i);
    if (length === undefined) continue;
    for (const next of successors(instructions, i)) {
      if (next <= i || next > end) continue;
      longest.set(next, Math.max(longest.get(next) ?? 0, length + 1));
    }
  }
  return longest.get(end);
}

/** The innermost loops that load `bytes` bytes at once from global memory. */
export function loopsThatLoad(instructions, bytes) {
  const loading = loopsOf(instructions).filter(({ begin, end }) =>
    instructions.slice(begin, end + 1).some(({ loadBytes }) => loadBytes === bytes),
  );
  return loading.filter((loop) => !loading.some((l) => l !== loop && l.begin >= loop.begin && l.end <= loop.end));
}
