/**
 * A device that computes nothing and whose memory has no bytes: every event has fired as soon as it is asked for. What
 * a session does in JavaScript, for a model of any size, and nothing else.
 */
export function idleDevice() {
  const views = new Map();
  const buffer = (bytes) => ({
    bytes,
    view(offset, length) {
      const key = `${offset}:${length}`;
      if (!views.has(key)) views.set(key, new ArrayBuffer(length));
      return views.get(key);
    },
    dispose() {},
  });
  const handle = () => ({ dispose() {}, done: () => Promise.resolve() });
  const device = {
    waits: 0,
    moved: [],
    words: 0,
    createBuffer: (_kind, bytes) => Promise.resolve(buffer(bytes)),
    createStream: handle,
    createEvent: handle,
    createGate: handle,
    createLayout: handle,
    createProgram: handle,
    submit(words) {
      device.words += words.length;
    },
    info: () => ({ kind: "idle" }),
    close: () => Promise.resolve(),
  };
  return device;
}
