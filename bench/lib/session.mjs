/** A model's session and its MeZO steps, below the public surface: what the benches measure. */
import { METHODS, reportOf } from "../../dist/esm/method/index.js";
import { loadedOf } from "../../dist/esm/loaded.js";

export function sessionOf(model) {
  return loadedOf(model).session;
}

/**
 * Takes one MeZO step and counts it as taken.
 *
 * @param settings `{step, seed, eps, learningRate, weightDecay, noise}`
 * @returns its losses and projected gradient
 */
export async function mezoStep(session, batch, settings) {
  const method = METHODS["mezo-sgd"].step({ eps: settings.eps, directions: 1 });
  const { result } = await session.step(batch, { ...settings, ...method });
  const outcome = await result;
  session.commit();
  return reportOf(method, outcome);
}
