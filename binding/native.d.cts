/**
 * The native surface, as JavaScript sees it. One class per handle of `zo2.h`; a thin layer, for `src/` only (the
 * package's users meet `src/index.ts`). `scripts/check-api.mjs` holds header, binding and this file together.
 *
 * Every function throws, or rejects with, an `Error` whose `code` is one of `ERROR_CODES` in `src/base/errors.ts`.
 * Nothing here waits on the JavaScript thread.
 */

/** What is compiled in, and whether it can be used on this machine. Never throws. */
export interface BackendInfo {
  readonly kind: "cpu" | "cuda";
  /** Devices of this backend; 0 when it cannot be used. */
  readonly devices: number;
  /** Why there are none. */
  readonly reason?: string;
}

export interface DeviceOptions {
  readonly ordinal?: number;
  /** Size of the CPU backend's thread pool; 0 or absent: one per core. */
  readonly threads?: number;
  /** Bytes of device buffers that may exist at once; 0 or absent: what the device has. */
  readonly memoryLimit?: number;
  /** Test mode: each command is delayed by up to this many microseconds (CPU backend). */
  readonly delayMicroseconds?: number;
  readonly delaySeed?: number;
  /** Use the kernels for a CPU without vector instructions. */
  readonly genericKernels?: boolean;
  /** Lets matrix products with an fp32 weight round their operands to tf32 (CUDA backend). */
  readonly tf32?: boolean;
  /** Reads and writes files by threads, also where io_uring is to be had. */
  readonly noIoUring?: boolean;
  /** Test mode: which of the allocations that `DeviceInfo` counts is refused, from 1; 0 or absent: none. */
  readonly refuseAllocation?: number;
}

/** `zo2_device_info`. */
export interface DeviceInfo {
  readonly kind: string;
  readonly name: string;
  readonly features: string;
  readonly threads: number;
  /** What holds the threads below the machine's cores: "affinity mask", or a control group's file; "": nothing does. */
  readonly threadsLimitedBy: string;
  /** What holds `memoryTotal` below the machine's memory: a control group's file; "": nothing does. */
  readonly memoryLimitedBy: string;
  readonly memoryTotal: number;
  readonly memoryFree: number;
  readonly memoryLimit: number;
  readonly deviceBytes: number;
  readonly deviceBytesPeak: number;
  readonly hostBytes: number;
  /** Of file buffers that were made, not opened. */
  readonly fileBytes: number;
  readonly commands: number;
  readonly launches: number;
  /** Buffers, layouts, programs and streams that were asked for since the device was opened. */
  readonly allocations: number;
}

interface NativeHandle {
  /**
   * Gives up the handle. What the device still runs with it stays alive until that has run. Using it again throws
   * ZO2_ERR_DISPOSED.
   */
  dispose(): void;
  readonly disposed: boolean;
}

export interface Stream extends NativeHandle {
  readonly name: string;
}

export interface Event extends NativeHandle {
  /**
   * Resolves when the record that this event holds, after everything submitted so far has been issued, has fired;
   * rejects with the error that poisoned its stream. Never recorded: rejects with ZO2_ERR_INVALID_ARGUMENT.
   */
  done(): Promise<void>;
  /** When the latest record fired, in seconds of the device's steady clock. */
  time(): number;
}

/** Holds a stream until it is opened (`HOLD`); opening is permanent. */
export interface Gate extends NativeHandle {
  open(): void;
}

export interface Buffer extends NativeHandle {
  readonly kind: "device" | "host" | "file";
  readonly bytes: number;
  /** Fills `into` with the bytes of a host buffer from `offset` on. What the device writes meanwhile may be torn. */
  read(offset: number, into: Uint8Array): void;
  /** Puts `bytes` into a host buffer from `offset` on. */
  write(offset: number, bytes: Uint8Array): void;
  /**
   * Gives the file of a file buffer a name that nothing has, on its file system: it stays when the buffer is gone.
   * Rejects with ZO2_ERR_IO, also where the file system could not make the file without a name.
   */
  link(path: string): Promise<void>;
}

/** Where the tensors of one unit lie (`zo2_segment`). */
export interface Layout extends NativeHandle {
  readonly segments: number;
}

export interface Program extends NativeHandle {
  readonly ops: number;
}

export interface Device extends NativeHandle {
  readonly kind: "cpu" | "cuda";
  info(): DeviceInfo;
  createStream(name: string): Stream;
  createEvent(): Event;
  createGate(): Gate;
  /** Allocates off the JavaScript thread. Host memory is zeroed, device memory is not. */
  createBuffer(kind: "device" | "host", bytes: number): Promise<Buffer>;
  /**
   * Memory at rest in a file, zeroed: copies reach it from and to host buffers alone, and `gather` reads rows of it
   * into one. Makes a file without a name in the folder, and finds room for all of it, off the JavaScript thread: its
   * room is free again when the buffer, or the process, is gone (see `Buffer.link`). Rejects with ZO2_ERR_OUT_OF_MEMORY
   * where there is no room, and with ZO2_ERR_IO where the file cannot be made.
   */
  createFileBuffer(folder: string, bytes: number): Promise<Buffer>;
  /**
   * The regular file `path`, which is there, as memory at rest with the bytes that it has now: copies and gathers read
   * it, and none writes into it. It stays this file where the name comes to mean another, and is closed with the
   * buffer. Rejects with ZO2_ERR_IO where it cannot be opened.
   */
  openFileBuffer(path: string): Promise<Buffer>;
  /** Ten words a segment, in the order of the fields of `zo2_segment`. */
  createLayout(segments: Float64Array): Layout;
  /** `words`: see "programs" in `zo2.h`. `spaceBytes`: the size of each of the six spaces. */
  createProgram(words: Float64Array, spaceBytes: Float64Array): Program;
  /**
   * Hands over a list of commands (`src/device/words.ts` encodes it). The whole list is decoded and every handle
   * checked before anything is enqueued; then it is issued by the device's submitter thread, after the lists before it.
   * An error while issuing poisons the stream of that command.
   */
  submit(words: Float64Array, handles: readonly NativeHandle[]): void;
  /**
   * Converts `count` elements of `source` (dtype as in `zo2.h`) into the host buffer `target` at byte `offset`, off the
   * JavaScript thread, rounding to nearest even. Resolves with the index of the first element that is not finite, or
   * not finite any more in the target's dtype; -1 when there is none. `source` must not change meanwhile.
   */
  convert(
    source: Uint8Array,
    sourceDtype: number,
    target: Buffer,
    offset: number,
    targetDtype: number,
    count: number,
  ): Promise<number>;
  /**
   * The same into blocks with scales (`zo2_segment`) of whole rows of `rowWidth` elements, whose bytes begin at
   * `offset` of `target`, and their scales at `scaleOffset`. `source` holds elements `first` .. `first + count - 1` of
   * the rows, which begin and end where blocks do. Resolves with the index in `source` of the first element that has no
   * place in a block, or -1.
   */
  quantise(
    source: Uint8Array,
    sourceDtype: number,
    target: Buffer,
    offset: number,
    scaleOffset: number,
    targetDtype: number,
    rowWidth: number,
    first: number,
    count: number,
  ): Promise<number>;
  /**
   * Back: elements `first` .. `first + count - 1` of rows that lie in blocks in the host buffer `source`, which must
   * not change meanwhile, into the host buffer `target`, as `convert` does it.
   */
  dequantise(
    source: Buffer,
    offset: number,
    scaleOffset: number,
    sourceDtype: number,
    rowWidth: number,
    first: number,
    target: Buffer,
    targetOffset: number,
    targetDtype: number,
    count: number,
  ): Promise<number>;
  /**
   * Cancels what has not started, waits (off the JavaScript thread) for what runs, and frees the device with all its
   * objects.
   */
  close(): Promise<void>;
  /** How often this device made the JavaScript thread wait for work to finish. Must be 0. */
  readonly waits: number;
}

export interface Native {
  /** `ZO2_CONTRACT_VERSION` the addon was built with. */
  readonly contractVersion: number;
  /** How the addon was built: compiler, matrix product library, CUDA choice. */
  readonly build: string;
  backends(): BackendInfo[];
  /** Rejects with ZO2_ERR_DEVICE when there is no such device. */
  openDevice(kind: "cpu" | "cuda", options: DeviceOptions): Promise<Device>;
  /**
   * Whether the open file is this process's alone now. The lock goes when the file is closed, however the process ends;
   * never waits. Throws ZO2_ERR_IO.
   */
  lockFile(descriptor: number): boolean;
}

/** Loads the addon. Throws an Error with code ZO2_ERR_ADDON that says what was tried and what to do. */
export function loadNative(): Native;
/** The file that it was loaded from; undefined before. */
export function nativeFile(): string | undefined;
/** The folder of the installed package. */
export const packageRoot: string;
