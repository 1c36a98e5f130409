/** What commands read and write, by name: memory that is allocated once, and what a step leaves behind. */

declare const brand: unique symbol;

/** A kind and an index, as one number. */
export type Resource = number & { readonly [brand]: true };

/** Those that only the compute lane touches, one after another, and then those that lanes and the host share. */
const OWN = ["carried", "workspace", "results", "deviceCache"] as const;
const WEIGHTS = ["rest", "slot", "gathered", "scratch"] as const;
const STAGED = ["hostSlot", "hostGathered"] as const;
const SHARED = [
  ...WEIGHTS,
  ...STAGED,
  "cacheRest",
  "cacheSlot",
  "carriedRest",
  "carriedSlot",
  "inputs",
  "staging",
  "readback",
  "state",
  "sticky",
] as const;
const KINDS = [...OWN, ...SHARED] as const;
type Kind = (typeof KINDS)[number];

function make(kind: Kind): (index: number) => Resource {
  const number = KINDS.indexOf(kind);
  return (index) => (index * KINDS.length + number) as Resource;
}

/** A unit's wire bytes, or its piece of a cache, where they rest. */
export const rest = make("rest");
export const cacheRest = make("cacheRest");
/** A place on the device for one unit's wire bytes, or for one piece of a cache. */
export const slot = make("slot");
export const cacheSlot = make("cacheSlot");
/** A place in host memory for the wire bytes of a unit that does not rest there. */
export const hostSlot = make("hostSlot");
/** The piece of a cache that rests on the device, by unit. */
export const deviceCache = make("deviceCache");
/** Perturbed weights, by set and side. */
export const scratch = make("scratch");
/** Activations between units that rest elsewhere, by area (probe x micro-batch), and a place to work with an area. */
export const carriedRest = make("carriedRest");
export const carriedSlot = make("carriedSlot");
/** Activations between units where they are worked with, and what the head leaves behind, by area. */
export const carried = make("carried");
export const results = make("results");
/** Losses and coefficients, by step state. */
export const state = make("state");
/** What comes with a batch, on the device and in host memory, and what comes back, by ring. */
export const inputs = make("inputs");
export const staging = make("staging");
export const readback = make("readback");

export const WORKSPACE = make("workspace")(0);
export const STICKY = make("sticky")(0);
/** Rows of a tied embedding, in wire bytes. */
export const GATHERED = make("gathered")(0);
/** Those of them that units with a host slot hold, on their way. */
export const HOST_GATHERED = make("hostGathered")(0);

/** Whether lanes have to wait for each other because of it. */
export function isShared(resource: Resource): boolean {
  return resource % KINDS.length >= OWN.length;
}

/** For messages and tests: "slot 2". */
export function nameOf(resource: Resource): string {
  return `${KINDS[resource % KINDS.length] ?? "?"} ${Math.floor(resource / KINDS.length)}`;
}
