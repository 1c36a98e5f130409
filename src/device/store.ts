import type { Device } from "zo2/native";
import { at } from "../base/at.js";
import { align, type BlockType, type FloatType } from "../base/dtype.js";
import { DISK_ALIGNMENT } from "../memory/arena.js";
import { FLOAT_DTYPE, WIRE_DTYPE } from "../memory/operands.js";
import type { Tier } from "../memory/residence.js";
import { type RestLayout, restLayout } from "../memory/rest.js";
import type { Unit } from "../memory/units.js";
import type { Declared, Work } from "../schedule/command.js";
import { rest } from "../schedule/resource.js";
import { Arenas } from "./arenas.js";
import type { Encode, Queue } from "./queue.js";
import type { Span } from "./words.js";

/** Host memory, as the native side and `view` take it. */
export type HostBytes = Span;

/** Rows in blocks in host memory: from `offset` on their elements, from `scaleOffset` on the scales. */
export interface BlockedRows extends HostBytes {
  readonly scaleOffset: number;
  readonly type: BlockType;
  /** Elements of a row. */
  readonly width: number;
}

/**
 * The wire bytes of every unit, at rest: in host memory that units are uploaded from, on the device for those that
 * stay, and in a file. Between what does not rest in host memory and JavaScript lies a staging buffer of one unit.
 */
export class WeightStore {
  private constructor(
    private readonly units: readonly Unit[],
    private places: RestLayout,
    private readonly arenas: Arenas,
    private readonly device: Device,
    private readonly queue: Queue,
  ) {}

  /**
   * Resolves when the first arena is there. The others come in the background, while units of those before them are
   * written.
   * @param diskPath the folder of the file.
   * @throws Zo2Error ZO2_ERR_OUT_OF_MEMORY; nothing is left allocated then
   */
  static async create(
    device: Device,
    queue: Queue,
    units: readonly Unit[],
    tiers: readonly Tier[],
    diskPath?: string | undefined,
  ): Promise<WeightStore> {
    const layout = layoutOf(units, tiers);
    const arenas = new Arenas(device, layout.arenas, diskPath);
    if (layout.arenas.length > 0) await arenas.ready(0);
    return new WeightStore(units, layout, arenas, device, queue);
  }

  /** Resolves when every unit has its place. @throws Zo2Error ZO2_ERR_OUT_OF_MEMORY */
  ready(): Promise<void> {
    return this.arenas.all();
  }

  get layout(): RestLayout {
    return this.places;
  }

  /** Where each unit rests. */
  get tiers(): readonly Tier[] {
    return this.places.units.map(({ rest: tier }) => tier);
  }

  /**
   * Brings units to rest elsewhere, one after another, those that leave the device first. Nothing may be in flight, and
   * whoever has the `span` of one has to ask anew.
   * @throws Zo2Error ZO2_ERR_OUT_OF_MEMORY; units that were not moved yet rest where they did
   */
  async move(tiers: readonly Tier[]): Promise<void> {
    const moving = this.places.units.flatMap(({ rest: from }, unit) => (at(tiers, unit) === from ? [] : [unit]));
    for (const unit of [...moving.filter((u) => at(tiers, u) !== "device"), ...moving])
      if (at(this.places.units, unit).rest !== at(tiers, unit)) await this.moveOne(unit, at(tiers, unit));
  }

  /** Where a unit's wire bytes rest; after `ready`, or inside `write` and `read` of that unit. */
  span(unit: number): Span {
    const { arena, offset } = at(this.places.units, unit);
    return { buffer: this.arenas.get(arena), offset };
  }

  /** Calls `fill` with host memory for the unit's wire bytes, and puts them to rest. */
  async write(unit: number, fill: (memory: HostBytes) => Promise<void>): Promise<void> {
    await this.arenas.ready(at(this.places.units, unit).arena);
    if (at(this.places.units, unit).rest === "host") return fill(this.span(unit));
    await this.withHostMemory(this.bytesMoved(unit), async (staging) => {
      await fill(staging);
      await this.copy({ kind: "put", unit }, staging);
    });
  }

  /** Calls `use` with host memory that holds the unit's wire bytes; it may only read them. */
  async read<T>(unit: number, use: (memory: HostBytes) => Promise<T>): Promise<T> {
    await this.arenas.ready(at(this.places.units, unit).arena);
    if (at(this.places.units, unit).rest === "host") return use(this.span(unit));
    return this.withHostMemory(this.bytesMoved(unit), async (staging) => {
      await this.copy({ kind: "fetch", unit }, staging);
      return use(staging);
    });
  }

  /**
   * Converts `count` elements into host memory, off the JavaScript thread, rounding to nearest even.
   * @returns the index of the first element that is not finite, or not any more in the target's dtype; -1 for none
   */
  convert(source: Uint8Array, from: FloatType, to: HostBytes, type: FloatType, count: number): Promise<number> {
    return this.device.convert(source, FLOAT_DTYPE[from], to.buffer, to.offset, FLOAT_DTYPE[type], count);
  }

  /**
   * Converts elements of whole rows into blocks, which they begin and end with, rounding to nearest even. The other way
   * is `dequantise`; both as `convert` otherwise.
   * @param first number of the first element among those of the rows
   */
  quantise(source: Uint8Array, from: FloatType, to: BlockedRows, first: number, count: number): Promise<number> {
    const { buffer, offset, scaleOffset, type, width } = to;
    const target = [buffer, offset, scaleOffset, WIRE_DTYPE[type], width] as const;
    return this.device.quantise(source, FLOAT_DTYPE[from], ...target, first, count);
  }

  dequantise(from: BlockedRows, first: number, to: HostBytes, type: FloatType, count: number): Promise<number> {
    const source = [from.buffer, from.offset, from.scaleOffset, WIRE_DTYPE[from.type], from.width] as const;
    return this.device.dequantise(...source, first, to.buffer, to.offset, FLOAT_DTYPE[type], count);
  }

  /** Calls `body` with host memory that lives as long. */
  async withHostMemory<T>(bytes: number, body: (memory: HostBytes) => Promise<T>): Promise<T> {
    const buffer = await this.device.createBuffer("host", bytes);
    try {
      return await body({ buffer, offset: 0 });
    } finally {
      buffer.dispose();
    }
  }

  dispose(): void {
    this.arenas.dispose();
  }

  private async moveOne(unit: number, tier: Tier): Promise<void> {
    const { rest: from, arena } = at(this.places.units, unit);
    if (from === "disk" || tier === "disk") throw new Error("what rests on disk stays there: all of it is one file");
    const buffer = await this.device.createBuffer(tier, at(this.places.arenas, arena).bytes);
    try {
      await this.copy({ kind: "fetch", unit }, { buffer, offset: 0 });
    } catch (error) {
      buffer.dispose();
      throw error;
    }
    // What no command uses any more is freed at once, and makes room for the next.
    await this.queue.settle();
    this.arenas.replace(arena, buffer);
    this.places = layoutOf(
      this.units,
      this.tiers.map((before, u) => (u === unit ? tier : before)),
    );
  }

  /** To and from where a unit rests: of a file, whole blocks. */
  private bytesMoved(unit: number): number {
    const { rest: tier, bytes } = at(this.places.units, unit);
    return tier === "disk" ? align(bytes, DISK_ALIGNMENT) : bytes;
  }

  private async copy(work: Extract<Work, { kind: "fetch" | "put" }>, other: Span): Promise<void> {
    const bytes = this.bytesMoved(work.unit);
    const own = this.span(work.unit);
    const [to, from] = work.kind === "put" ? [own, other] : [other, own];
    const touched = [rest(work.unit)];
    const declared: Declared = {
      kind: "work",
      lane: "compute",
      work,
      reads: work.kind === "put" ? [] : touched,
      writes: work.kind === "put" ? touched : [],
    };
    const encode: Encode = (words, stream) => words.copy(stream, to, from, bytes);
    await this.queue.submit([declared], encode).done;
  }
}

function layoutOf(units: readonly Unit[], tiers: readonly Tier[]): RestLayout {
  return restLayout(
    units,
    tiers.map((tier) => ({ rest: tier })),
  );
}
