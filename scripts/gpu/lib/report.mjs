/** What the one file must have, whatever was measured. */

/** By stage: kinds of rows by their names, and what stands for a kind where it was skipped. */
const KINDS = {
  "1-test": [
    [/^the matrix product for Hopper/],
    [/^transfer, upload, /],
    [/^transfer, offload, /],
    [/^transfer, both at once, /],
    [/^locking /],
    [/^upload from /, /^locking /],
    [/^prepare, update and perturb, gaussian, fp16$/],
    [/^prepare, update and perturb, rademacher, fp16$/],
    [/^layerNorm, /],
    [/^rmsNorm, /],
  ],
  "2-kernels": [
    [/, none, chosen/],
    [/, bias, chosen/],
    [/, bias, relu, chosen/],
    [/, bias, fp32 residual, chosen/],
    [/odd rows, /],
    [/^attention, /],
    [/ beside cuBLAS$/, /cuBLAS/],
    [/ beside flash$/, /flash/],
    [/^linear: /, /profiler/],
  ],
  "3-steps": [
    [/units of a layer: a step$/, /units of a layer$/],
    [/: waits on the JavaScript thread$/, /, /],
    [/: device memory at its peak$/, /, /],
    [/: the context, beside the plan$/, /, /],
    [/, resident: a step$/, /, resident$/],
    [/no overlap: a step$/, /no overlap$/],
    [/beside the original ZO2/, /original ZO2/],
  ],
};

function problemsOfRow({ name, measured, predicted, basis, goal, met }) {
  const found = [];
  if (!Number.isFinite(measured)) found.push(`${name}: it has no measurement`);
  if (!Number.isFinite(predicted) || !basis)
    found.push(`${name}: it has no prediction, or none that says what it is from`);
  if (goal !== null && goal.of === "predicted" && typeof met !== "boolean")
    found.push(`${name}: its goal was not judged`);
  return found;
}

/** What is wrong with a stage's result: rows without a prediction, skips without a reason, kinds that are neither. */
export function problemsOf({ stage, steps, rows, skipped }) {
  // A step that failed says so itself, and what was to come of it is missing.
  const whole = steps.every((step) => step.ok);
  const absent = (KINDS[stage] ?? []).filter(
    ([kind, excuse = kind]) =>
      !rows.some(({ name }) => kind.test(name)) && !skipped.some(({ name }) => excuse.test(name)),
  );
  return [
    ...rows.flatMap(problemsOfRow),
    ...skipped.filter(({ reason }) => !reason).map(({ name }) => `${name}: it is skipped without a reason`),
    ...(whole ? absent.map(([kind]) => `nothing is called ${kind}, and no skip says why`) : []),
  ];
}
