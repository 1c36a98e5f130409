/**
 * The names that a pickle of PyTorch tensors may use, and what they mean here. The list is closed: whatever is not in
 * it is refused by its name, and none of it does more than describe a tensor.
 */
import {
  Foreign,
  Global,
  PickleDict,
  PickleList,
  type PickleRules,
  PickleSet,
  PickleTuple,
  type PickleValue,
} from "./pickle.js";
import type { TensorDtype } from "./safetensors.js";
import { broken } from "./source.js";

/** A storage as the pickle declares it. `dtype` is null where only its bytes are told. */
export class TorchStorage extends Foreign {
  constructor(
    readonly key: string,
    readonly dtype: TensorDtype | null,
    /** In elements of `dtype`, or bytes. */
    readonly count: number,
  ) {
    super();
  }
}

/** A view of a storage: element [i, j, ...] is at `first` + i * strides[0] + j * strides[1] + ..., in elements. */
export class TorchTensor extends Foreign {
  constructor(
    readonly storage: TorchStorage,
    readonly dtype: TensorDtype,
    readonly first: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
  ) {
    super();
  }
}

/** What is no tensor and says nothing of one: a device, a layout, a number. */
class Inert extends Foreign {}

class TensorClass extends Global {}

/** What makes a tensor of a view of a storage; none of them takes another as its argument. */
class Rebuild extends Global {
  constructor(
    name: string,
    readonly rebuild: (args: readonly PickleValue[]) => TorchTensor,
  ) {
    super(name, rebuild);
  }
}

class TorchDtype extends Global {
  constructor(
    name: string,
    readonly dtype: TensorDtype,
  ) {
    super(name);
  }
}

class StorageClass extends Global {
  constructor(
    name: string,
    readonly dtype: TensorDtype | null,
  ) {
    super(name);
  }
}

const STORAGES: Readonly<Record<string, TensorDtype>> = {
  DoubleStorage: "F64",
  FloatStorage: "F32",
  HalfStorage: "F16",
  BFloat16Storage: "BF16",
  LongStorage: "I64",
  IntStorage: "I32",
  ShortStorage: "I16",
  CharStorage: "I8",
  ByteStorage: "U8",
  BoolStorage: "BOOL",
  ComplexFloatStorage: "C64",
};

const DTYPES: Readonly<Record<string, TensorDtype>> = {
  float64: "F64",
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
  int64: "I64",
  int32: "I32",
  int16: "I16",
  int8: "I8",
  uint8: "U8",
  bool: "BOOL",
  uint16: "U16",
  uint32: "U32",
  uint64: "U64",
  complex64: "C64",
  float8_e4m3fn: "F8_E4M3",
  float8_e5m2: "F8_E5M2",
  float8_e4m3fnuz: "F8_E4M3FNUZ",
  float8_e5m2fnuz: "F8_E5M2FNUZ",
  float8_e8m0fnu: "F8_E8M0",
};

/** The classes that a tensor with attributes may be of. */
const TENSOR_CLASSES = [
  "torch.Tensor",
  "torch._tensor.Tensor",
  "torch.nn.parameter.Parameter",
  "torch.nn.parameter.Buffer",
];

/** PyTorch itself allows no more dimensions. */
const MAX_RANK = 64;

/** What `torch.save` keeps by persistent ids is storages, and nothing else. */
export interface TorchRules extends PickleRules {
  persistent(id: PickleValue): TorchStorage;
}

/** The rules for one pickle; `where` names it in errors. */
export function torchRules(where: string): TorchRules {
  const fail = (what: string) => broken(where, what);
  const globals = allowed(fail);
  return {
    global(module, name) {
      const known = globals.get(`${module}.${name}`);
      if (known === undefined) {
        throw fail(
          `it names ${JSON.stringify(`${module}.${name}`)}, which tensors do not need: refused, nothing was ` +
            "run; use a file of tensors only",
        );
      }
      return known;
    },
    persistent: (id) => storage(id, fail),
  };
}

type Fail = (what: string) => Error;

function allowed(fail: Fail): ReadonlyMap<string, Global> {
  const rebuilds: Record<string, (args: readonly PickleValue[]) => TorchTensor> = {
    _rebuild_tensor: ([store, first, shape, strides]) => tensor({ store, first, shape, strides }, fail),
    _rebuild_tensor_v2: ([store, first, shape, strides, , , metadata]) =>
      tensor({ store, first, shape, strides, metadata }, fail),
    _rebuild_tensor_v3: ([store, first, shape, strides, , , dtype, metadata]) => {
      if (!(dtype instanceof TorchDtype)) throw fail("a tensor without a dtype");
      return tensor({ store, first, shape, strides, metadata, dtype: dtype.dtype }, fail);
    },
    _rebuild_parameter: ([data]) => parameter(data, fail),
    _rebuild_parameter_with_state: ([data]) => parameter(data, fail),
  };
  const functions: Record<string, (args: readonly PickleValue[]) => PickleValue> = {
    "collections.OrderedDict": ([pairs]) => orderedDict(pairs, fail),
    // Its argument is a dictionary of counts, or none.
    "collections.Counter": ([counts]) => (counts instanceof PickleDict ? counts : new PickleDict()),
    "torch.Size": ([items]) =>
      items instanceof PickleTuple || items instanceof PickleList ? new PickleTuple(items.items) : new PickleTuple([]),
    "torch._tensor._rebuild_from_type": (args) => fromType(args, fail),
    "torch._tensor._rebuild_from_type_v2": (args) => fromType(args, fail),
    "torch.device": () => new Inert(),
    "torch.serialization._get_layout": () => new Inert(),
  };
  // Protocols before 3 call Python's builtins by the name that Python 2 had for them.
  for (const module of ["builtins", "__builtin__"]) {
    for (const name of ["set", "frozenset"]) functions[`${module}.${name}`] = ([items]) => setOf(items, fail);
    for (const name of ["complex", "bytearray", "slice"]) functions[`${module}.${name}`] = () => new Inert();
  }
  const globals = Object.entries(functions).map(([name, call]) => new Global(name, call));
  for (const [name, rebuild] of Object.entries(rebuilds)) globals.push(new Rebuild(`torch._utils.${name}`, rebuild));
  for (const name of TENSOR_CLASSES) globals.push(new TensorClass(name));
  for (const [name, dtype] of Object.entries(STORAGES)) {
    for (const module of ["torch", "torch.cuda"]) globals.push(new StorageClass(`${module}.${name}`, dtype));
  }
  for (const module of ["torch", "torch.storage"]) globals.push(new StorageClass(`${module}.UntypedStorage`, null));
  for (const [name, dtype] of Object.entries(DTYPES)) globals.push(new TorchDtype(`torch.${name}`, dtype));
  return new Map(globals.map((global) => [global.name, global]));
}

function isCount(value: PickleValue | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

/** Python 2 pickles an ordered dictionary with its pairs as an argument. */
function orderedDict(pairs: PickleValue | undefined, fail: Fail): PickleDict {
  const dict = new PickleDict();
  if (pairs === undefined) return dict;
  if (!(pairs instanceof PickleList) && !(pairs instanceof PickleTuple))
    throw fail("an OrderedDict of what is not a list of pairs");
  for (const pair of pairs.items) {
    if (!(pair instanceof PickleList || pair instanceof PickleTuple) || pair.items.length !== 2) {
      throw fail("an OrderedDict of what is not a list of pairs");
    }
    dict.items.set(pair.items[0] ?? null, pair.items[1] ?? null);
  }
  return dict;
}

/** `("storage", class, key, location, elements)`, in the older format with a sixth part. */
function storage(id: PickleValue, fail: Fail): TorchStorage {
  const [kind, type, key, , count, view] = id instanceof PickleTuple ? id.items : [];
  if (kind !== "storage" || !(type instanceof StorageClass) || typeof key !== "string" || !isCount(count)) {
    throw fail("a persistent id that is no storage of a tensor; use a file that torch.save wrote");
  }
  if (view !== undefined && view !== null) {
    throw fail(
      `storage ${JSON.stringify(key)} is a part of another, as PyTorch wrote before 0.4; save the file again ` +
        "with a newer one",
    );
  }
  return new TorchStorage(key, type.dtype, count);
}

interface TensorArguments {
  readonly store: PickleValue | undefined;
  readonly first: PickleValue | undefined;
  readonly shape: PickleValue | undefined;
  readonly strides: PickleValue | undefined;
  readonly metadata?: PickleValue | undefined;
  /** Where the storage does not tell. */
  readonly dtype?: TensorDtype;
}

function tensor(args: TensorArguments, fail: Fail): TorchTensor {
  const { store, first, shape, strides, metadata } = args;
  if (!(store instanceof TorchStorage)) throw fail("a tensor without a storage");
  const dtype = args.dtype ?? store.dtype;
  if (dtype === null) throw fail(`a tensor in storage ${JSON.stringify(store.key)} has no dtype`);
  const where = `a tensor in storage ${JSON.stringify(store.key)}`;
  if (!isCount(first) || !isExtents(shape) || !isExtents(strides) || shape.items.length !== strides.items.length) {
    throw fail(
      `${where}: its offset, shape and strides are not integers from 0 to 2^53 - 1, equally many, at most ${MAX_RANK}`,
    );
  }
  // Conjugated and negated views store other values than they stand for.
  for (const bit of ["conj", "neg"]) {
    if (metadata instanceof PickleDict && (metadata.items.get(bit) ?? false) !== false) {
      throw fail(
        `${where} is a lazily ${bit === "neg" ? "negated" : "conjugated"} view; save it after .resolve_${bit}()`,
      );
    }
  }
  return new TorchTensor(store, dtype, first, shape.items, strides.items);
}

function isExtents(value: PickleValue | undefined): value is PickleTuple & { readonly items: readonly number[] } {
  return value instanceof PickleTuple && value.items.length <= MAX_RANK && value.items.every(isCount);
}

function parameter(data: PickleValue | undefined, fail: Fail): TorchTensor {
  if (!(data instanceof TorchTensor)) throw fail("a parameter without a tensor");
  return data;
}

/**
 * `(function, class, arguments, attributes)`: a tensor that somebody gave attributes. These say nothing of its values,
 * and a class of somebody's own is on no list.
 */
function fromType([func, type, args]: readonly PickleValue[], fail: Fail): TorchTensor {
  if (!(func instanceof Rebuild)) throw fail("a tensor with attributes that is made by what makes no tensor");
  if (!(type instanceof TensorClass)) throw fail("a tensor with attributes that is of no tensor's class");
  if (!(args instanceof PickleTuple)) throw fail("a tensor with attributes without a tuple of arguments");
  return func.rebuild(args.items);
}

function setOf(items: PickleValue | undefined, fail: Fail): PickleSet {
  const set = new PickleSet();
  if (items === undefined) return set;
  if (!(items instanceof PickleList) && !(items instanceof PickleTuple) && !(items instanceof PickleSet))
    throw fail("a set of what is not a list of values");
  for (const item of items.items) set.items.push(item);
  return set;
}
