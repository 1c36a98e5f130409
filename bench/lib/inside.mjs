/**
 * What the benches see of a model beyond its public surface: `waits`, and the objects that a profile needs. TypeScript
 * calls these fields private, so this is the one place that names them.
 */
export function inside(model) {
  const device = model.parts?.device;
  const engine = model.parts?.engine;
  if (
    typeof device?.waits !== "number" ||
    engine === undefined ||
    !("executor" in engine) ||
    !("recording" in engine)
  ) {
    throw new Error("the fields of Model or Engine have other names now; bench/lib/inside.mjs has to follow them");
  }
  return {
    device,
    engine,
    recording: engine.recording,
    /** Null before the first batch; another one after the plan has changed. */
    get executor() {
      return engine.executor;
    },
  };
}

/**
 * Resolves when the weights of the pass that was enqueued last are at rest again: losses may be back before the last
 * unit is. The pass must have applied an update.
 */
export async function weightsAtRest(model) {
  const { executor } = inside(model);
  if (executor.plan.options.tier === "host") await executor.event(`offloaded:${executor.plan.units.length - 1}`).done();
}
