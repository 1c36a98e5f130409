/** What is recorded of the compiled kernels, and when a kernel has grown beyond it. */
import { longestPath, loopsThatLoad } from "./paths.mjs";

/** Instructions may be this many more than recorded: a few, or this part of them. */
const ALLOWED_INSTRUCTIONS = 16;
const ALLOWED_SHARE = 0.03;

/** Warp instructions for eight elements, at most: prepare with one update to nearest, from fp16 to fp16. */
const GROUP_GOALS = [
  { kernel: "prepare_uniform<1, 1, zo2_noise_kind 0, Update 1>", most: 720 },
  { kernel: "prepare_uniform<1, 1, zo2_noise_kind 1, Update 1>", most: 400 },
];
const GROUP_KERNELS = /^prepare_uniform</;
const GROUP_LOAD_BYTES = 16;

/**
 * The figures of one kernel for one architecture. `group`: instructions on the longest way once through the loop over
 * groups of eight elements, with every branch taken that makes it longer; what a block does once, and the way of groups
 * that are partial or not finite, lie outside of the loop.
 */
export function figuresOf({ registers, spillStores, spillLoads, shared, dynamic, instructions }, name) {
  const loops = GROUP_KERNELS.test(name) ? loopsThatLoad(instructions, GROUP_LOAD_BYTES) : [];
  return {
    registers,
    spill: spillStores + spillLoads,
    static: shared,
    dynamic,
    instructions: instructions.length,
    ...(loops.length > 0 && { group: Math.max(...loops.map((loop) => longestPath(instructions, loop))) }),
  };
}

/** [{file, kernel, archs: {arch: figures}}] of compiled kernels, ordered by file and name. */
export function collect(kernels) {
  const rows = new Map();
  for (const kernel of kernels) {
    const key = `${kernel.file} ${kernel.short}`;
    if (!rows.has(key)) rows.set(key, { file: kernel.file, kernel: kernel.short, archs: {} });
    rows.get(key).archs[kernel.arch] = figuresOf(kernel, kernel.short);
  }
  return [...rows.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
}

/** What stands against a row in one architecture, as texts. */
function grown(now, before) {
  const more = (name, unit) => (now[name] > before[name] ? [`${now[name]} ${unit}, not ${before[name]}`] : []);
  const most = before.instructions + Math.max(ALLOWED_INSTRUCTIONS, before.instructions * ALLOWED_SHARE);
  return [
    ...more("spill", "bytes spilled"),
    ...more("registers", "registers"),
    ...more("static", "bytes of static shared memory"),
    ...more("dynamic", "bytes of dynamic shared memory"),
    ...(now.instructions > most ? [`${now.instructions} instructions, not ${before.instructions}`] : []),
  ];
}

/** Kernels that grew beyond what is recorded, or of which nothing is. */
export function compare(found, recorded) {
  const before = new Map(recorded.map((row) => [`${row.file} ${row.kernel}`, row]));
  const complaints = found.flatMap(({ file, kernel, archs }) =>
    Object.entries(archs).flatMap(([arch, now]) => {
      const then = before.get(`${file} ${kernel}`)?.archs[arch];
      if (then === undefined) return [`${file}: ${kernel} for ${arch} is not recorded`];
      return grown(now, then).map((text) => `${file}: ${kernel} for ${arch} has ${text}`);
    }),
  );
  const seen = new Set(found.map(({ file, kernel }) => `${file} ${kernel}`));
  const gone = recorded.filter((row) => !seen.has(`${row.file} ${row.kernel}`));
  return [...complaints, ...gone.map(({ file, kernel }) => `${file}: ${kernel} is recorded, but is there no more`)];
}

/** Goals that are missed, whatever is recorded. */
export function missedGoals(found) {
  return GROUP_GOALS.flatMap(({ kernel, most }) => {
    const row = found.find((r) => r.kernel === kernel);
    if (row === undefined) return [`there is no ${kernel}`];
    return Object.entries(row.archs).flatMap(([arch, { group, spill }]) => [
      ...(group <= most
        ? []
        : [`${kernel} for ${arch} takes ${group} instructions for a group, at most ${most} are allowed`]),
      ...(spill === 0 ? [] : [`${kernel} for ${arch} spills ${spill} bytes`]),
    ]);
  });
}
