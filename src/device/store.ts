import type { Device } from "zo2/native";
import { at } from "../base/at.js";
import { align, type BlockType, type FloatType } from "../base/dtype.js";
import { Zo2Error } from "../base/errors.js";
import { DISK_ALIGNMENT, type Region } from "../memory/arena.js";
import { FLOAT_DTYPE, WIRE_DTYPE } from "../memory/operands.js";
import type { Tier } from "../memory/residence.js";
import { type RestLayout, restLayout, type RestPlace, scratchFile, takeSealed } from "../memory/rest.js";
import { sliceBytes, type Unit } from "../memory/units.js";
import type { Declared, Work } from "../schedule/command.js";
import { rest } from "../schedule/resource.js";
import { allocate, USE } from "./allocate.js";
import { Arenas } from "./arenas.js";
import { CheckpointFiles, type Reading, type StoredPiece } from "./checkpoint-files.js";
import { checkDiskBudget, type DiskOptions } from "./disk-space.js";
import { offsetBy } from "./place.js";
import type { Encode, Queue } from "./queue.js";
import type { Span } from "./words.js";

/** A unit's place in an arena, and of one in a file that of its seal there. */
type UnitPlace = RestPlace & { readonly seal: number | null };

/** Host memory, as the native side and `view` take it. */
export type HostBytes = Span;

/** Rows in blocks in host memory: from `offset` on their elements, from `scaleOffset` on the scales. */
export interface BlockedRows extends HostBytes {
  readonly scaleOffset: number;
  readonly type: BlockType;
  /** Elements of a row. */
  readonly width: number;
}

/** What units on disk rest in. */
export interface DiskRest extends DiskOptions {
  /** By unit: where the checkpoint's files have its bytes, for those that may rest there. */
  readonly stored?: readonly (readonly StoredPiece[])[] | undefined;
}

/** A file of units that rest on disk, without a name at first. */
export interface WeightFile {
  readonly units: readonly SealedUnit[];
  /** Gives it a name that nothing has; it stays when the process ends. @throws Zo2Error ZO2_ERR_IO */
  link(path: string): Promise<void>;
  /** Writes what it says of itself, `FILE_HEAD_BYTES` at most. */
  writeHead(head: Uint8Array): Promise<void>;
}

/** Where in its file a unit and its seal are. */
export interface SealedUnit extends Region {
  readonly unit: number;
  readonly seal: number;
}

/**
 * The wire bytes of every unit, at rest: in host memory that units are uploaded from, on the device for those that
 * stay, and in files. Between what does not rest in host memory and JavaScript lies a staging buffer of one unit.
 *
 * A unit on disk that the checkpoint's files have as it rests is read there until it is written for the first time: to
 * a place in a scratch file, where it rests from then on.
 */
export class WeightStore {
  /** By unit: its place in a scratch file that came later than the others. */
  private readonly rooms = new Map<number, UnitPlace>();
  /** Of those scratch files. */
  private laterBytes = 0;
  /** Scratch files that have had a name. */
  private readonly named = new Set<number>();
  /** Units that rest in their checkpoint's files. */
  private readonly unwritten: Set<number>;

  private constructor(
    private readonly units: readonly Unit[],
    private places: RestLayout,
    private readonly arenas: Arenas,
    private readonly files: CheckpointFiles,
    private readonly device: Device,
    private readonly queue: Queue,
    private readonly disk: DiskRest,
  ) {
    this.unwritten = new Set(unwrittenIn(places));
  }

  /**
   * Resolves when the first arena is there. The others come in the background, while units of those before them are
   * written.
   * @throws Zo2Error ZO2_ERR_OUT_OF_MEMORY, ZO2_ERR_IO; nothing is left allocated then
   */
  static async create(
    device: Device,
    queue: Queue,
    units: readonly Unit[],
    tiers: readonly Tier[],
    disk: DiskRest = {},
  ): Promise<WeightStore> {
    const layout = layoutOf(units, tiers);
    const unwritten = new Set(unwrittenIn(layout));
    // Before anything is asked for: the device allocates in turn.
    const files = await CheckpointFiles.open(
      device,
      units.map(({ index }) => (unwritten.has(index) ? at(disk.stored ?? [], index) : [])),
    );
    try {
      const arenas = new Arenas(device, layout.arenas, disk.diskPath);
      if (layout.arenas.length > 0) await arenas.ready(0);
      return new WeightStore(units, layout, arenas, files, device, queue, disk);
    } catch (error) {
      files.dispose();
      throw error;
    }
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

  /** Whether a unit on disk has a place in a scratch file. */
  hasRoom(unit: number): boolean {
    return at(this.places.units, unit).rest === "disk" && this.placeOf(unit) !== null;
  }

  /** Bytes of weights that are read from the checkpoint's own files. */
  get inPlaceBytes(): number {
    const readings = [...this.unwritten].flatMap((unit) => this.files.readings(unit));
    return readings.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /**
   * Makes a scratch file for those of the units on disk that have no place in one yet.
   * @throws Zo2Error ZO2_ERR_OUT_OF_MEMORY with the folder, ZO2_ERR_MEMORY_BUDGET; all is as before then
   */
  async makeRoom(units: Iterable<number>): Promise<void> {
    const lacking = [...units].filter((unit) => at(this.places.units, unit).rest === "disk" && !this.hasRoom(unit));
    if (lacking.length === 0) return;
    const file = scratchFile();
    const regions = lacking.map((unit) => [unit, takeSealed(file, at(this.places.units, unit).bytes)] as const);
    checkDiskBudget(this.scratchBytes + file.bytes, this.disk);
    const arena = await this.arenas.add({ tier: "disk", bytes: file.bytes });
    this.laterBytes += file.bytes;
    for (const [unit, region] of regions) this.rooms.set(unit, { arena, ...region });
  }

  /** Where a unit's wire bytes rest, or of one on disk will rest: in its arena. After `ready`, or inside `write`. */
  span(unit: number): Span {
    const place = this.placeOf(unit);
    if (place === null) throw new Error(`unit ${unit} has no place in a scratch file`);
    return { buffer: this.arenas.get(place.arena), offset: place.offset };
  }

  /** From where on the bytes of one of a unit's tensors are read now, which is no small vector on disk. */
  spanAt(unit: number, offset: number): Span {
    return this.unwritten.has(unit) ? this.files.spanAt(unit, offset) : offsetBy(this.span(unit), offset);
  }

  /** All that has to be read for the wire bytes of a unit on disk, as it rests now. */
  readings(unit: number): readonly Reading[] {
    if (!this.unwritten.has(unit)) return [{ from: this.span(unit), unitOffset: 0, bytes: this.bytesMoved(unit) }];
    return [...this.files.readings(unit), ...this.asideReadings(unit)];
  }

  /** A command that was just issued writes a unit into its scratch file. @returns whether it is the first */
  wrote(unit: number): boolean {
    return this.unwritten.delete(unit);
  }

  /** These first writes may not have been, for what was issued with them failed: the checkpoint's files are whole. */
  unwrite(units: Iterable<number>): void {
    for (const unit of units) this.unwritten.add(unit);
  }

  /** Calls `fill` with host memory for the unit's wire bytes, and puts them to rest. */
  async write(unit: number, fill: (memory: HostBytes) => Promise<void>): Promise<void> {
    await this.there(unit);
    if (at(this.places.units, unit).rest === "host") return fill(this.span(unit));
    await this.withHostMemory(this.bytesMoved(unit), async (staging) => {
      await fill(staging);
      await this.put(unit, staging);
    });
  }

  /** The same for bytes of the checkpoint itself: a unit that may rest in its files rests there from then on. */
  async writeStored(unit: number, fill: (memory: HostBytes) => Promise<void>): Promise<void> {
    if (at(this.places.units, unit).arena !== null) return this.write(unit, fill);
    await this.there(unit);
    await this.withHostMemory(this.bytesMoved(unit), async (staging) => {
      await fill(staging);
      for (const { from, unitOffset, bytes } of this.asideReadings(unit)) {
        const vector = new Uint8Array(bytes);
        staging.buffer.read(staging.offset + unitOffset, vector);
        from.buffer.write(from.offset, vector);
      }
      this.unwritten.add(unit);
    });
  }

  /**
   * Calls `fill` with host memory for the unit's wire bytes, and puts them to rest where it says that they are good;
   * else what rests there stays.
   * @param seal of these bytes, which goes with them into a file.
   */
  async offer(unit: number, fill: (memory: HostBytes) => Promise<boolean>, seal: Uint8Array): Promise<boolean> {
    await this.there(unit);
    return this.withHostMemory(this.bytesMoved(unit), async (staging) => {
      if (!(await fill(staging))) return false;
      await this.put(unit, staging);
      if (at(this.places.units, unit).rest === "disk") await this.writeBlock(this.sealOf(unit), seal);
      return true;
    });
  }

  /** Those that units rest in, or will when they are written. */
  get scratchFiles(): readonly WeightFile[] {
    const byArena = new Map<number, SealedUnit[]>();
    this.units.forEach((_, unit) => {
      const place = this.placeOf(unit);
      if (place === null || place.seal === null) return;
      const { arena, seal, offset, bytes } = place;
      byArena.set(arena, [...(byArena.get(arena) ?? []), { unit, seal, offset, bytes }]);
    });
    return [...byArena].map(([arena, units]) => ({
      units,
      link: (path) => this.link(arena, path),
      writeHead: async (head) => this.writeBlock({ buffer: await this.arenas.ready(arena), offset: 0 }, head),
    }));
  }

  /** A file system gives a file that has lost its last name no other. */
  private async link(arena: number, path: string): Promise<void> {
    const file = await this.arenas.ready(arena);
    try {
      await file.link(path);
    } catch (error) {
      if (!this.named.has(arena)) throw error;
      throw new Zo2Error(
        "ZO2_ERR_IO",
        `${path}: the file of the model's weights had the name of an earlier run, and gets no other; load the model ` +
          "anew to keep those of this run",
        { cause: error },
      );
    }
    this.named.add(arena);
  }

  /** Where the seal of a unit in a scratch file is. */
  sealOf(unit: number): Span {
    const place = this.placeOf(unit);
    if (place === null || place.seal === null) throw new Error(`unit ${unit} has no place in a scratch file`);
    return { buffer: this.arenas.get(place.arena), offset: place.seal };
  }

  /** Calls `use` with host memory that holds the unit's wire bytes; it may only read them. */
  async read<T>(unit: number, use: (memory: HostBytes) => Promise<T>): Promise<T> {
    await this.there(unit);
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

  /** Calls `change` with host memory that holds the unit's wire bytes, and puts to rest what it leaves there. */
  async change(unit: number, change: (memory: HostBytes) => Promise<void>): Promise<void> {
    await this.there(unit);
    if (at(this.places.units, unit).rest === "host") return change(this.span(unit));
    await this.withHostMemory(this.bytesMoved(unit), async (staging) => {
      await this.copy({ kind: "fetch", unit }, staging);
      await change(staging);
      await this.put(unit, staging);
    });
  }

  /** Calls `body` with host memory that lives as long. */
  async withHostMemory<T>(bytes: number, body: (memory: HostBytes) => Promise<T>): Promise<T> {
    const buffer = await allocate(this.device, "host", bytes, USE.staging);
    try {
      return await body({ buffer, offset: 0 });
    } finally {
      buffer.dispose();
    }
  }

  dispose(): void {
    this.arenas.dispose();
    this.files.dispose();
  }

  private placeOf(unit: number): UnitPlace | null {
    const { arena, offset, bytes, seal } = at(this.places.units, unit);
    return arena === null ? (this.rooms.get(unit) ?? null) : { arena, offset, bytes, seal };
  }

  /** Host memory that holds a unit's wire bytes, to where it rests. */
  private async put(unit: number, staging: HostBytes): Promise<void> {
    await this.makeRoom([unit]);
    await this.copy({ kind: "put", unit }, staging);
    this.unwritten.delete(unit);
  }

  /** Resolves when a unit's memory is there. */
  private async there(unit: number): Promise<void> {
    const { aside } = at(this.places.units, unit);
    for (const place of [this.placeOf(unit), aside]) if (place !== null) await this.arenas.ready(place.arena);
  }

  /** Of all scratch files. */
  private get scratchBytes(): number {
    return this.places.bytes.disk + this.laterBytes;
  }

  /** The tensors that the checkpoint's files do not have as they rest. */
  private asideReadings(unit: number): readonly Reading[] {
    const { aside } = at(this.places.units, unit);
    if (aside === null) return [];
    const buffer = this.arenas.get(aside.arena);
    let { offset } = aside;
    return at(this.units, unit).tensors.flatMap((slice) => {
      if (slice.asStored) return [];
      const reading = { from: { buffer, offset }, unitOffset: slice.wireOffset, bytes: sliceBytes(slice) };
      offset += reading.bytes;
      return [reading];
    });
  }

  private async moveOne(unit: number, tier: Tier): Promise<void> {
    const { rest: from, arena } = at(this.places.units, unit);
    if (from === "disk" || tier === "disk" || arena === null)
      throw new Error("what rests on disk stays there: all of it is one file");
    const { bytes } = at(this.places.arenas, arena);
    const buffer = await allocate(this.device, tier, bytes, tier === "device" ? USE.resident : USE.host);
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

  private writeBlock(to: Span, block: Uint8Array): Promise<void> {
    return this.withHostMemory(DISK_ALIGNMENT, async (staging) => {
      staging.buffer.write(0, block);
      const declared: Declared = { kind: "work", lane: "compute", work: { kind: "label" }, reads: [], writes: [] };
      await this.queue.submit([declared], (words, stream) => words.copy(stream, to, staging, DISK_ALIGNMENT)).done;
    });
  }

  private async copy(work: Extract<Work, { kind: "fetch" | "put" }>, other: Span): Promise<void> {
    const bytes = this.bytesMoved(work.unit);
    const touched = [rest(work.unit)];
    const declared: Declared = {
      kind: "work",
      lane: "compute",
      work,
      reads: work.kind === "put" ? [] : touched,
      writes: work.kind === "put" ? touched : [],
    };
    const { kind, unit } = work;
    const own = kind === "put" ? [{ from: this.span(unit), unitOffset: 0, bytes }] : this.readings(unit);
    const encode: Encode = (words, stream) => {
      for (const piece of own) {
        const there = offsetBy(other, piece.unitOffset);
        const [to, from] = kind === "put" ? [piece.from, there] : [there, piece.from];
        words.copy(stream, to, from, piece.bytes);
      }
    };
    await this.queue.submit([declared], encode).done;
  }
}

function layoutOf(units: readonly Unit[], tiers: readonly Tier[]): RestLayout {
  return restLayout(
    units,
    tiers.map((tier) => ({ rest: tier, scratch: false })),
  );
}

/** Units that nothing has given a place of their own. */
function unwrittenIn({ units }: RestLayout): readonly number[] {
  return units.flatMap(({ arena }, unit) => (arena === null ? [unit] : []));
}
