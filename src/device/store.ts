import type { Buffer, Device, Stream } from "zo2/native";
import { CommandList, type Span } from "./words.js";
import { residentLayout, type Tier } from "../memory/plan.js";
import type { Unit } from "../memory/units.js";

/**
 * The wire bytes of every unit, at rest: one host arena that units are uploaded from, or one device buffer in which
 * they stay. Between a resident unit and JavaScript lies a staging buffer of one unit.
 */
export class WeightStore {
  private constructor(
    readonly tier: Tier,
    readonly bytes: number,
    private readonly units: readonly Unit[],
    private readonly offsets: readonly number[],
    private readonly arena: Buffer,
    private readonly device: Device,
    private readonly stream: Stream,
  ) {}

  static async create(device: Device, units: readonly Unit[], tier: Tier): Promise<WeightStore> {
    const { offsets, bytes } = residentLayout(units);
    const arena = await device.createBuffer(tier, bytes);
    return new WeightStore(tier, bytes, units, offsets, arena, device, device.createStream("store"));
  }

  /** Where a unit's wire bytes rest. */
  span(unit: number): Span {
    return { buffer: this.arena, offset: this.offset(unit) };
  }

  /** Calls `fill` with host memory for the unit's wire bytes, and puts them to rest. */
  async write(unit: number, fill: (memory: HostBytes) => Promise<void>): Promise<void> {
    if (this.tier === "host") return fill({ buffer: this.arena, offset: this.offset(unit) });
    await this.withStaging(unit, async (staging) => {
      await fill({ buffer: staging, offset: 0 });
      await this.copy(this.span(unit), { buffer: staging, offset: 0 }, this.unitBytes(unit));
    });
  }

  /** Calls `use` with host memory that holds the unit's wire bytes; it may only read them. */
  async read<T>(unit: number, use: (memory: HostBytes) => Promise<T>): Promise<T> {
    if (this.tier === "host") return use({ buffer: this.arena, offset: this.offset(unit) });
    return this.withStaging(unit, async (staging) => {
      await this.copy({ buffer: staging, offset: 0 }, this.span(unit), this.unitBytes(unit));
      return use({ buffer: staging, offset: 0 });
    });
  }

  dispose(): void {
    this.stream.dispose();
    this.arena.dispose();
  }

  private async withStaging<T>(unit: number, body: (staging: Buffer) => Promise<T>): Promise<T> {
    const staging = await this.device.createBuffer("host", this.unitBytes(unit));
    try {
      return await body(staging);
    } finally {
      staging.dispose();
    }
  }

  private async copy(dst: Span, src: Span, bytes: number): Promise<void> {
    const event = this.device.createEvent();
    const commands = new CommandList();
    commands.copy(this.stream, dst, src, bytes);
    commands.record(this.stream, event);
    this.device.submit(commands.words, commands.handles);
    try {
      await event.done();
    } finally {
      event.dispose();
    }
  }

  private offset(unit: number): number {
    return this.offsets[unit] ?? 0;
  }

  private unitBytes(unit: number): number {
    return this.units[unit]?.wireBytes ?? 0;
  }
}

/** Host memory, as the native side and `view` take it. */
export type HostBytes = Span;
