/**
 * A device that computes nothing and whose memory has no bytes: every event has fired as soon as it is asked for. What
 * a session does in JavaScript, for a model of any size, and nothing else.
 */
export function idleDevice() {
  const buffer = (bytes) => ({ bytes, read() {}, write() {}, dispose() {} });
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
