import { sessionOf } from "./session.mjs";

/**
 * Times the commands of every pass that `model` runs from now on, one by one; a unit's program runs op by op. The model
 * must have been loaded with overlap off: there is one stream then, and one command runs after the other.
 *
 * @returns `take()`: the entries of the passes since the last call, each `{what, seconds, bytes?, flops?, values?}`.
 */
export function profile(model) {
  if (model.options.offload.overlap) throw new Error("a profile needs a model that was loaded with overlap off");
  const trace = sessionOf(model).trace({ ops: true });
  return {
    take: () =>
      trace.take().map(({ what, begin, end, bytes, flops, draws }) => ({
        what,
        seconds: end - begin,
        ...(bytes === undefined ? {} : { bytes }),
        ...(flops === undefined ? {} : { flops }),
        ...(draws === undefined ? {} : { values: draws }),
      })),
  };
}
