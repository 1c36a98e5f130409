import { CommandList } from "../../dist/esm/device/words.js";
import { spaceBytes, unitProgram } from "../../dist/esm/memory/operands.js";
import { OPS } from "../../dist/esm/ops/table.js";
import { inside } from "./inside.mjs";
import { splitProgram } from "./split-program.mjs";

const OPCODES = Object.fromEntries(Object.entries(OPS).map(([name, { code }]) => [name, code]));

/**
 * Times the commands of every pass that `model` runs from now on, one by one, by an event after each. The model must
 * have been loaded with overlap off: there is one stream then, and what lies between two events is one command. A
 * unit's program runs op by op.
 *
 * @returns `take()`: the entries of the passes since the last call, each `{what, seconds, bytes?, flops?, values?}`.
 */
export function profile(model) {
  if (model.options.offload.overlap) throw new Error("a profile needs a model that was loaded with overlap off");
  const { device, recording } = inside(model);
  const profiled = new WeakSet();
  let entries = [];
  const attach = () => {
    const { executor } = inside(model);
    if (executor === null || profiled.has(executor)) return executor !== null;
    profiled.add(executor);
    const pass = new ProfiledPass(device, executor, recording);
    executor.submit = async (commands, data, doneEvent) => {
      entries.push(...(await pass.run(commands, data, doneEvent)));
    };
    return true;
  };
  return {
    /** Begins with the executor as it is: call it once the model has met its largest batch. */
    attach,
    take() {
      const taken = entries;
      entries = [];
      return taken;
    },
  };
}

class ProfiledPass {
  constructor(device, executor, recording) {
    this.device = device;
    this.executor = executor;
    this.events = [];
    const { plan } = executor;
    this.programs = plan.units.map((unit) =>
      splitProgram(unitProgram(plan, unit, recording.inputs), OPCODES).map(({ words, ...op }) => ({
        ...op,
        program: device.createProgram(words, spaceBytes(plan)),
      })),
    );
  }

  async run(commands, data, doneEvent) {
    const { executor } = this;
    const marks = [];
    const stream = executor.stream("compute");
    const mark = (list, entry) => {
      this.events[marks.length] ??= this.device.createEvent();
      const event = this.events[marks.length];
      marks.push(entry);
      list.record(stream, event);
    };
    const list = new OpByOp(mark);
    mark(list, null);
    for (const command of commands) {
      if (command.kind === "run") {
        list.programs = this.programs[command.unit];
        executor.encode(list, command, data);
      } else {
        executor.encode(list, command, data);
        if (command.kind !== "record" && command.kind !== "wait") mark(list, entryOf(command, executor.plan, data));
      }
    }
    this.device.submit(list.words, list.handles);
    await executor.event(doneEvent).done();
    const times = marks.map((_, i) => this.events[i].time());
    return marks.slice(1).map((entry, i) => ({ ...entry, seconds: times[i + 1] - times[i] }));
  }
}

/** A command list that runs a unit's ops one by one, with a mark after each. */
class OpByOp extends CommandList {
  programs = [];

  constructor(mark) {
    super();
    this.mark = mark;
  }

  run(stream, args) {
    for (const { program, what, flops } of this.programs) {
      super.run(stream, { ...args, program });
      this.mark(this, { what, flops: flops(args.symbols) });
    }
  }
}

function entryOf(command, plan, data) {
  const what = command.kind;
  switch (what) {
    case "upload":
    case "offload":
      return { what, bytes: plan.units[command.unit].wireBytes };
    case "prepare": {
      const elements = plan.units[command.unit].tensors.reduce((sum, t) => sum + t.count, 0);
      // One draw for the perturbation, one more for the update of the step before.
      return { what, values: elements * ((data.step === null ? 0 : 1) + (command.update ? 1 : 0)) };
    }
    default:
      return { what };
  }
}
