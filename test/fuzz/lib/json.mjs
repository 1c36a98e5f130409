/** Mutations of JSON texts by their nodes. */

/** Number texts that `JSON.stringify` would not write. */
const NUMBERS = [
  "0",
  "-0",
  "-1",
  "1",
  "2",
  "3",
  "0.5",
  "1e-9",
  "1e999",
  "-1e999",
  "1e20",
  "1e6",
  "255",
  "65536",
  "100000000",
  "2147483647",
  "2147483648",
  "4294967296",
  "9007199254740991",
  "9007199254740992",
  "9007199254740993",
  "18446744073709551615",
  "1.0",
  "1e0",
  "5e-324",
];
const VALUES = [
  "null",
  "true",
  "false",
  "[]",
  "{}",
  '""',
  '"0"',
  '"__proto__"',
  '"constructor"',
  '"\\ud800"',
  '"\\u0000"',
  "[null]",
  "[[]]",
  '{"":{}}',
];
const MOST_NODES = 20_000;
const DEEP = 3000;

/** A text that stands for itself when the tree is written; anything else is written as JSON. */
class Raw {
  constructor(text) {
    this.text = text;
  }
}

/** A number or value in the form of text, some of the dictionary's words among them. */
function randomRaw(random, dictionary) {
  const choice = random.below(20);
  if (choice < 9) return new Raw(random.pick(NUMBERS));
  if (choice < 14) return new Raw(random.pick(VALUES));
  if (choice === 14) return new Raw(`${"[".repeat(DEEP)}${"]".repeat(DEEP)}`);
  if (choice === 15) return new Raw(JSON.stringify("a".repeat(random.length(4096))));
  if (choice === 16) return new Raw(String(random.word()));
  return dictionary.length === 0 ? new Raw("null") : new Raw(JSON.stringify(String(random.pick(dictionary))));
}

/** A tree of arrays and of objects as lists of pairs, so that keys may stand twice and keep their order. */
function toTree(value) {
  if (Array.isArray(value)) return { list: value.map(toTree) };
  if (typeof value === "object" && value !== null)
    return { pairs: Object.entries(value).map(([key, child]) => [key, toTree(child)]) };
  return { leaf: value };
}

function write(node) {
  if (node instanceof Raw) return node.text;
  if (node.list !== undefined) return `[${node.list.map(write).join(",")}]`;
  if (node.pairs !== undefined)
    return `{${node.pairs.map(([key, child]) => `${JSON.stringify(key)}:${write(child)}`).join(",")}}`;
  return JSON.stringify(node.leaf);
}

/** Every place of the tree that holds a node: its holder and index. */
function placesOf(root) {
  const places = [{ holder: [root], index: 0, pair: false }];
  for (let i = 0; i < places.length && places.length < MOST_NODES; i++) {
    const { holder, index, pair } = places[i];
    const node = pair ? holder[index][1] : holder[index];
    for (const [n] of (node.list ?? []).entries()) places.push({ holder: node.list, index: n, pair: false });
    for (const [n] of (node.pairs ?? []).entries()) places.push({ holder: node.pairs, index: n, pair: true });
  }
  return places;
}

const get = ({ holder, index, pair }) => (pair ? holder[index]?.[1] : holder[index]);

function set({ holder, index, pair }, node) {
  if (!pair) holder[index] = node;
  else if (holder[index] !== undefined) holder[index][1] = node;
}

function mutateLeaf(leaf, random, dictionary) {
  if (typeof leaf === "number" && random.chance(0.6)) {
    return {
      leaf: random.pick([
        leaf + 1,
        leaf - 1,
        leaf * 2,
        -leaf,
        leaf / 2,
        Math.floor(leaf / 2),
        leaf + random.below(256),
        leaf * 1e6,
      ]),
    };
  }
  if (typeof leaf === "boolean" && random.chance(0.7)) return { leaf: !leaf };
  if (typeof leaf === "string" && random.chance(0.6)) {
    const at = random.below(leaf.length + 1);
    const piece = random.pick([
      "",
      "\0",
      "..",
      "/",
      " ",
      "é",
      "\ud83d",
      "😀",
      "a{64}",
      "(a+)+$",
      ...dictionary.map(String),
    ]);
    return { leaf: leaf.slice(0, at) + piece + leaf.slice(at + (random.chance(0.5) ? random.length(8) : 0)) };
  }
  return randomRaw(random, dictionary);
}

function mutateOnce(places, random, dictionary) {
  const place = random.pick(places);
  const node = get(place);
  if (node === undefined || node instanceof Raw) return;
  const choice = random.below(12);
  if (choice < 5)
    set(place, node.leaf !== undefined ? mutateLeaf(node.leaf, random, dictionary) : randomRaw(random, dictionary));
  else if (choice === 5) place.holder.splice(place.index, 1);
  else if (choice === 6) {
    const other =
      place.pair && random.chance(0.7)
        ? [`${place.holder[place.index][0]}${random.below(10)}`, node]
        : place.holder[place.index];
    place.holder.splice(random.below(place.holder.length + 1), 0, other);
  } else if (choice === 7) set(place, get(random.pick(places)) ?? node);
  else if (choice === 8 && place.pair)
    place.holder[place.index] = [String(random.pick([...dictionary, "__proto__", ""])), node];
  else if (choice === 9)
    (node.pairs ?? []).push([String(random.pick([...dictionary, "x"])), randomRaw(random, dictionary)]);
  else if (choice === 10) set(place, { list: [node] });
  else (node.list ?? []).push(randomRaw(random, dictionary));
}

/** A node below itself would be written without end. */
function isTree(node, above = new Set()) {
  if (node instanceof Raw || node.leaf !== undefined) return true;
  if (above.has(node)) return false;
  above.add(node);
  const children = node.list ?? (node.pairs ?? []).map(([, child]) => child);
  const result = children.every((child) => isTree(child, above));
  above.delete(node);
  return result;
}

/**
 * `bytes` with a few of its nodes changed, or undefined where it is not JSON (or a change made no tree).
 * @returns {Buffer | undefined}
 */
export function mutateJson(bytes, random, dictionary) {
  let value;
  try {
    value = JSON.parse(bytes.toString("utf8"));
  } catch {
    return undefined;
  }
  const holder = [toTree(value)];
  try {
    for (let left = 1 + random.below(4); left > 0; left--) {
      const places = placesOf(holder[0]);
      places[0].holder = holder;
      mutateOnce(places, random, dictionary);
      if (holder[0] === undefined || !isTree(holder[0])) return undefined;
    }
    return Buffer.from(write(holder[0]));
  } catch (error) {
    // Nested too deeply to be walked, or grown too long.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
