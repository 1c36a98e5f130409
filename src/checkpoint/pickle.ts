/**
 * A reader of Python pickles, protocols 2 to 5, that cannot run code: a pickle names callables, and here a name means
 * only what the caller's rules make of it. The machine has no recursion, and every count is bounded.
 */
import { broken } from "./source.js";

/** Values of the rules' own kinds, opaque to the machine. */
export abstract class Foreign {}

/** A name that a pickle may use. Without `call` it is only a value. */
export class Global extends Foreign {
  constructor(
    readonly name: string,
    readonly call?: (args: readonly PickleValue[]) => PickleValue,
  ) {
    super();
  }
}

export class PickleTuple {
  constructor(readonly items: readonly PickleValue[]) {}
}

export class PickleList {
  readonly items: PickleValue[] = [];
}

/** Python's `set` and `frozenset`. */
export class PickleSet {
  readonly items: PickleValue[] = [];
}

/** Python's `dict` and `OrderedDict`. */
export class PickleDict {
  readonly items = new Map<PickleValue, PickleValue>();
}

export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleTuple
  | PickleList
  | PickleSet
  | PickleDict
  | Foreign;

/** What the names and the persistent ids of a pickle mean. Both throw for what they do not accept. */
export interface PickleRules {
  global(module: string, name: string): Global;
  persistent(id: PickleValue): PickleValue;
}

const MAX_STACK = 2 ** 17;
/** Containers, their items and memo entries of one pickle: what its memory grows with. */
const MAX_ITEMS = 2 ** 22;
const CONTAINER_COST = 4;
const MEMO_COST = 3;
const MAX_NAME_BYTES = 512;
const PROTOCOLS = [2, 5] as const;

/** Opcodes that are known, and not read: a message names them rather than a number. */
const REFUSED: Readonly<Record<number, string>> = {
  73: "INT",
  76: "LONG",
  70: "FLOAT",
  80: "PERSID",
  83: "STRING",
  86: "UNICODE",
  100: "DICT",
  108: "LIST",
  103: "GET",
  112: "PUT",
  105: "INST",
  111: "OBJ",
  129: "NEWOBJ",
  146: "NEWOBJ_EX",
  130: "EXT1",
  131: "EXT2",
  132: "EXT4",
  139: "LONG4",
  50: "DUP",
  151: "NEXT_BUFFER",
  152: "READONLY_BUFFER",
};

/**
 * Reads the pickle that begins at `start` of `bytes`; `end` is the byte behind it. `where` names it in errors. Throws
 * `ZO2_ERR_CHECKPOINT` for anything that is damaged, past the bounds, or not accepted by `rules`.
 */
export function readPickle(
  bytes: Uint8Array,
  where: string,
  rules: PickleRules,
  start = 0,
): { readonly value: PickleValue; readonly end: number } {
  const machine = new Machine(bytes, where, rules, start);
  return { value: machine.run(), end: machine.position };
}

class Machine {
  private readonly view: DataView;
  private readonly stack: PickleValue[] = [];
  /** Heights of the stack at the marks that are open. */
  private readonly marks: number[] = [];
  private readonly memo = new Map<number, PickleValue>();
  private items = 0;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly where: string,
    private readonly rules: PickleRules,
    public position: number,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  run(): PickleValue {
    for (;;) {
      const op = this.view.getUint8(this.take(1));
      if (op === 0x2e) return this.pop();
      this.step(op);
      if (this.stack.length + this.marks.length > MAX_STACK)
        throw this.fail(`more than ${MAX_STACK} values and marks on its stack`);
    }
  }

  private step(op: number): void {
    const { stack, view } = this;
    switch (op) {
      case 0x80:
        return this.protocol(view.getUint8(this.take(1)));
      case 0x95:
        return void this.take(8); // FRAME: a hint for buffered readers
      case 0x28:
        return void this.marks.push(stack.length);
      case 0x30:
        return void this.pop();
      case 0x31:
        return void this.popMark();
      case 0x4e:
        return void stack.push(null);
      case 0x88:
        return void stack.push(true);
      case 0x89:
        return void stack.push(false);
      case 0x4b:
        return void stack.push(view.getUint8(this.take(1)));
      case 0x4d:
        return void stack.push(view.getUint16(this.take(2), true));
      case 0x4a:
        return void stack.push(view.getInt32(this.take(4), true));
      case 0x8a:
        return void stack.push(this.long(this.counted(1)));
      case 0x47:
        return void stack.push(view.getFloat64(this.take(8), false));
      case 0x8c:
        return void stack.push(text(this.counted(1)));
      case 0x58:
        return void stack.push(text(this.counted(4)));
      case 0x8d:
        return void stack.push(text(this.counted(8)));
      case 0x55:
        return void stack.push(text(this.counted(1))); // SHORT_BINSTRING, of Python 2
      case 0x54:
        return void stack.push(text(this.counted(4)));
      case 0x43:
        return void stack.push(this.counted(1));
      case 0x42:
        return void stack.push(this.counted(4));
      case 0x8e:
        return void stack.push(this.counted(8));
      case 0x96:
        return void stack.push(this.counted(8));
      case 0x29:
        return this.tuple([]);
      case 0x85:
        return this.tuple(this.popMany(1));
      case 0x86:
        return this.tuple(this.popMany(2));
      case 0x87:
        return this.tuple(this.popMany(3));
      case 0x74:
        return this.tuple(this.popMark());
      case 0x5d:
        return this.container(new PickleList());
      case 0x61:
        return this.append(this.popMany(1));
      case 0x65:
        return this.append(this.popMark());
      case 0x8f:
        return this.container(new PickleSet());
      case 0x90:
        return this.addItems(this.popMark());
      case 0x91:
        return this.frozenSet(this.popMark());
      case 0x7d:
        return this.container(new PickleDict());
      case 0x73:
        return this.setItems(this.popMany(2));
      case 0x75:
        return this.setItems(this.popMark());
      case 0x68:
        return this.get(view.getUint8(this.take(1)));
      case 0x6a:
        return this.get(view.getUint32(this.take(4), true));
      case 0x71:
        return this.put(view.getUint8(this.take(1)));
      case 0x72:
        return this.put(view.getUint32(this.take(4), true));
      case 0x94:
        return this.put(this.memo.size);
      case 0x63:
        return this.global(this.line(), this.line());
      case 0x93:
        return this.stackGlobal();
      case 0x52:
        return this.reduce();
      case 0x62:
        return this.build();
      case 0x51:
        return void stack.push(this.rules.persistent(this.pop()));
      default:
        throw this.fail(
          `opcode ${REFUSED[op] ?? `0x${op.toString(16)}`} is not one that torch.save writes for tensors`,
        );
    }
  }

  private fail(what: string): Error {
    return broken(this.where, `byte ${this.position}: ${what}; download the file again`);
  }

  private protocol(version: number): void {
    const [least, most] = PROTOCOLS;
    if (version < least || version > most)
      throw this.fail(`pickle protocol ${version}; ${least} to ${most} can be read`);
  }

  /** Moves behind the next `count` bytes and returns where they begin. */
  private take(count: number): number {
    const at = this.position;
    if (count > this.bytes.byteLength - at)
      throw this.fail(`it breaks off: ${count} bytes are wanted, ${this.bytes.byteLength - at} are left`);
    this.position += count;
    return at;
  }

  /** Bytes behind a count of `width` bytes. */
  private counted(width: 1 | 4 | 8): Uint8Array {
    const at = this.take(width);
    const count =
      width === 1
        ? this.view.getUint8(at)
        : width === 4
          ? this.view.getUint32(at, true)
          : Number(this.view.getBigUint64(at, true));
    const start = this.take(count);
    return this.bytes.subarray(start, start + count);
  }

  private line(): string {
    const end = this.bytes.subarray(this.position, this.position + MAX_NAME_BYTES).indexOf(0x0a);
    if (end < 0) throw this.fail(`a name has no end within ${MAX_NAME_BYTES} bytes`);
    const start = this.take(end + 1);
    return text(this.bytes.subarray(start, start + end));
  }

  /** Little-endian two's complement. */
  private long(bytes: Uint8Array): number | bigint {
    let value = 0n;
    for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i] ?? 0);
    value = BigInt.asIntN(bytes.length * 8, value);
    const narrow = Number(value);
    return Number.isSafeInteger(narrow) ? narrow : value;
  }

  private pop(): PickleValue {
    const value = this.stack.length > (this.marks.at(-1) ?? 0) ? this.stack.pop() : undefined;
    if (value === undefined) throw this.fail("it takes a value from an empty stack");
    return value;
  }

  private popMany(count: number): PickleValue[] {
    if (this.stack.length - (this.marks.at(-1) ?? 0) < count)
      throw this.fail(`it takes ${count} values from a stack that has fewer`);
    return this.stack.splice(this.stack.length - count);
  }

  private popMark(): PickleValue[] {
    const height = this.marks.pop();
    if (height === undefined) throw this.fail("it goes back to a mark that it did not set");
    return this.stack.splice(height);
  }

  private top(): PickleValue {
    const value = this.stack.length > (this.marks.at(-1) ?? 0) ? this.stack.at(-1) : undefined;
    if (value === undefined) throw this.fail("it needs a value on an empty stack");
    return value;
  }

  private charge(items: number): void {
    this.items += items;
    if (this.items > MAX_ITEMS) throw this.fail(`more than ${MAX_ITEMS} values`);
  }

  private container(value: PickleValue): void {
    this.charge(CONTAINER_COST);
    this.stack.push(value);
  }

  private tuple(items: readonly PickleValue[]): void {
    this.charge(items.length);
    this.container(new PickleTuple(items));
  }

  private append(items: readonly PickleValue[]): void {
    const list = this.top();
    if (!(list instanceof PickleList)) throw this.fail("it appends to what is not a list");
    this.charge(items.length);
    for (const item of items) list.items.push(item);
  }

  private addItems(items: readonly PickleValue[]): void {
    const set = this.top();
    if (!(set instanceof PickleSet)) throw this.fail("it adds items to what is not a set");
    this.charge(items.length);
    for (const item of items) set.items.push(item);
  }

  private frozenSet(items: readonly PickleValue[]): void {
    this.container(new PickleSet());
    this.addItems(items);
  }

  private setItems(pairs: readonly PickleValue[]): void {
    const dict = this.top();
    if (!(dict instanceof PickleDict)) throw this.fail("it sets items of what is not a dictionary");
    if (pairs.length % 2 !== 0) throw this.fail("it sets a key without a value");
    this.charge(pairs.length);
    for (let i = 0; i < pairs.length; i += 2) dict.items.set(pairs[i] ?? null, pairs[i + 1] ?? null);
  }

  private get(index: number): void {
    const value = this.memo.get(index);
    if (value === undefined) throw this.fail(`it recalls memo ${index}, which was never set`);
    this.stack.push(value);
  }

  private put(index: number): void {
    this.charge(MEMO_COST);
    this.memo.set(index, this.top());
  }

  private global(module: string, name: string): void {
    this.container(this.rules.global(module, name));
  }

  private stackGlobal(): void {
    const [module, name] = this.popMany(2);
    if (typeof module !== "string" || typeof name !== "string")
      throw this.fail("it names a global with what is not text");
    if (module.length + name.length > MAX_NAME_BYTES)
      throw this.fail(`a name of ${module.length + name.length} characters`);
    this.global(module, name);
  }

  private reduce(): void {
    const [callable, args] = this.popMany(2);
    if (!(callable instanceof Global) || callable.call === undefined) {
      throw this.fail(
        callable instanceof Global
          ? `it calls ${callable.name}, which is no function`
          : "it calls what is not a function",
      );
    }
    if (!(args instanceof PickleTuple)) throw this.fail(`it calls ${callable.name} without a tuple of arguments`);
    const value = callable.call(args.items);
    if (value instanceof PickleDict) this.charge(value.items.size);
    if (value instanceof PickleSet || value instanceof PickleList) this.charge(value.items.length);
    this.container(value);
  }

  /** Only dictionaries carry state (`_metadata` of a state dict), and nothing that tensors need. */
  private build(): void {
    this.pop();
    if (!(this.top() instanceof PickleDict)) throw this.fail("it sets attributes of what is not a dictionary");
  }
}

function text(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}
