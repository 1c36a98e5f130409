import type { Buffer, Device } from "zo2/native";
import { at } from "../base/at.js";
import { type ControlLayout, controlLayout, type StepState } from "../memory/control.js";
import * as resource from "../schedule/resource.js";
import { writeCoefficients } from "./readback.js";
import { allocate, USE } from "./allocate.js";
import type { Queue } from "./queue.js";
import { type Place, type Placed, placed } from "./place.js";

/** What steps leave on the device for later visits: losses, coefficients, and the flags of updates that went wrong. */
export class Control {
  readonly sticky: Place;
  /** In host memory. */
  readonly notes: Placed<ControlLayout["notes"]>;
  private readonly states: Placed<ControlLayout["states"]>;
  /** Their twins in host memory, for coefficients that the host computed. */
  private readonly adopted: Placed<ControlLayout["states"]>;
  /** States behind those of steps, while a replay lasts. */
  private replayed: Placed<ControlLayout["states"]> = [];

  private constructor(
    readonly layout: ControlLayout,
    private readonly buffer: Buffer,
    private readonly hostBuffer: Buffer,
    private readonly device: Device,
    private readonly queue: Queue,
  ) {
    this.sticky = placed(layout.sticky, buffer);
    this.states = placed(layout.states, buffer);
    this.adopted = placed(layout.states, hostBuffer);
    this.notes = placed(layout.notes, hostBuffer);
  }

  /** @param states of steps. */
  static async create(device: Device, queue: Queue, states: number): Promise<Control> {
    const layout = controlLayout(states);
    const buffer = await allocate(device, "device", layout.bytes, USE.control);
    const hostBuffer = await allocate(device, "host", layout.bytes, USE.control);
    const control = new Control(layout, buffer, hostBuffer, device, queue);
    const writes = [...layout.states.map((_, state) => resource.state(state)), resource.STICKY];
    await queue.submit(
      [{ kind: "work", lane: "compute", work: { kind: "clear", what: "control" }, reads: [], writes }],
      (words, stream) => words.fill(stream, { buffer, offset: 0 }, 0, layout.bytes),
    ).done;
    return control;
  }

  state(index: number): Placed<StepState> {
    const { length } = this.states;
    return index < length ? at(this.states, index) : at(this.replayed, index - length);
  }

  /**
   * Calls `body` with what puts coefficients that were computed before, up to `most` steps at once, where visits look
   * for them: it returns the number of the first one's state. Those of the call before are gone then.
   * @throws Zo2Error ZO2_ERR_OUT_OF_MEMORY
   */
  async replay(
    most: number,
    body: (adopt: (coefficients: readonly (readonly number[])[]) => number) => Promise<void>,
  ): Promise<void> {
    const layout = controlLayout(most);
    const buffer = await allocate(this.device, "device", layout.bytes, USE.control);
    try {
      const host = await allocate(this.device, "host", layout.bytes, USE.control);
      try {
        this.replayed = placed(layout.states, buffer);
        const twins = placed(layout.states, host);
        const first = this.states.length;
        const writes = layout.states.map((_, i) => resource.state(first + i));
        await body((coefficients) => {
          for (const [i, values] of coefficients.entries()) writeCoefficients(at(twins, i).coefficients, values);
          // A failure poisons the lane, and arrives with the next pass.
          this.queue
            .submit(
              [{ kind: "work", lane: "compute", work: { kind: "adopt", state: first }, reads: [], writes }],
              (words, stream) => words.copy(stream, { buffer, offset: 0 }, { buffer: host, offset: 0 }, layout.bytes),
            )
            .done.catch(() => undefined);
          return first;
        });
      } finally {
        host.dispose();
      }
    } finally {
      this.replayed = [];
      buffer.dispose();
    }
  }

  /** Clears the flags, behind everything that may still set one. */
  clearSticky(): Promise<void> {
    return this.queue.submit(
      [
        {
          kind: "work",
          lane: "compute",
          work: { kind: "clear", what: "sticky" },
          reads: [],
          writes: [resource.STICKY],
        },
      ],
      (words, stream) => words.fill(stream, this.sticky, 0, this.sticky.bytes),
    ).done;
  }

  /** Puts coefficients that the host computed where visits look for those of step `state`. */
  adopt(state: number, coefficients: readonly number[]): Promise<void> {
    const from = at(this.adopted, state).coefficients;
    writeCoefficients(from, coefficients);
    return this.queue.submit(
      [{ kind: "work", lane: "compute", work: { kind: "adopt", state }, reads: [], writes: [resource.state(state)] }],
      (words, stream) => words.copy(stream, this.state(state).coefficients, from, from.bytes),
    ).done;
  }

  dispose(): void {
    this.buffer.dispose();
    this.hostBuffer.dispose();
  }
}
