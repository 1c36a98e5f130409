import {
  COEFFICIENT_BYTES,
  LOSS,
  LOSS_BYTES,
  NOISE,
  ROUND,
  SHAPING,
  SPACE,
  STICKY_BYTES,
} from "../../src/contract/constants.js";
import { OPS } from "../../src/ops/table.js";
import { contents, errorOf, hostBytes, submit, submitted, withDevice } from "./support.js";
import { DEVICE } from "./device.js";

const span = <T>(buffer: T, offset = 0) => ({ buffer, offset });

test("bytes come back from the device as they went there, at the offsets that were asked for", async () => {
  await withDevice({}, async (device) => {
    const stream = device.createStream("copies");
    const source = await hostBytes(
      device,
      Uint8Array.from({ length: 100 }, (_, i) => i),
    );
    const arena = await device.createBuffer("device", 200);
    const back = await device.createBuffer("host", 50);
    await submitted(device, stream, (list) => {
      list.fill(stream, span(arena), 255, 200);
      list.copy(stream, span(arena, 7), span(source, 10), 20);
      list.copy(stream, span(back, 5), span(arena, 6), 30);
    });
    const expected = new Uint8Array(50);
    expected.fill(255, 5, 35);
    for (let i = 0; i < 20; i++) expected[6 + i] = 10 + i;
    expect(contents(back)).toEqual(expected);
  });
});

test("gather takes the rows that the table names, less the base", async () => {
  await withDevice({}, async (device) => {
    const stream = device.createStream("gather");
    const source = await hostBytes(
      device,
      Uint8Array.from({ length: 12 }, (_, i) => i),
    );
    const rows = await hostBytes(device, new Uint8Array(Int32Array.of(103, 100, 103).buffer));
    const out = await device.createBuffer("host", 9);
    await submitted(device, stream, (list) => list.gather(stream, span(out), span(source), span(rows), 3, 100, 3));
    expect([...contents(out)]).toEqual([9, 10, 11, 0, 1, 2, 9, 10, 11]);
  });
});

test("a row that does not exist poisons the stream, and the event says which", async () => {
  await withDevice({}, async (device) => {
    const stream = device.createStream("gather");
    const source = await device.createBuffer("host", 12);
    const rows = await hostBytes(device, new Uint8Array(Int32Array.of(0, 77).buffer));
    const out = await device.createBuffer("host", 6);
    const error = await errorOf(
      submitted(device, stream, (list) => list.gather(stream, span(out), span(source), span(rows), 2, 0, 3)),
    );
    expect(error.code).toBe("ZO2_ERR_INVALID_ARGUMENT");
    expect(error.message).toMatch(/77/);
  });
});

test("events order streams whatever the delays", async () => {
  const rounds = 40;
  await withDevice({ delayMicroseconds: 300, delaySeed: 5 }, async (device) => {
    const writer = device.createStream("writer");
    const reader = device.createStream("reader");
    const cell = await device.createBuffer("device", 1);
    const log = await device.createBuffer("host", rounds);
    const written = device.createEvent();
    const read = device.createEvent();
    await submitted(device, reader, (list) => {
      for (let i = 0; i < rounds; i++) {
        if (i > 0) list.wait(writer, read);
        list.fill(writer, span(cell), i + 1, 1);
        list.record(writer, written);
        list.wait(reader, written);
        list.copy(reader, span(log, i), span(cell), 1);
        list.record(reader, read);
      }
    });
    expect([...contents(log)]).toEqual(Array.from({ length: rounds }, (_, i) => i + 1));
  });
});

test("a held stream stands still until its gate opens, while others run and JavaScript turns", async () => {
  await withDevice({}, async (device) => {
    const held = device.createStream("held");
    const free = device.createStream("free");
    const gate = device.createGate();
    const out = await device.createBuffer("host", 2);
    const heldDone = device.createEvent();
    submit(device, (list) => {
      list.hold(held, gate);
      list.fill(held, span(out), 1, 1);
      list.record(held, heldDone);
    });
    let finished = false;
    const finishing = heldDone.done().then(() => (finished = true));
    await submitted(device, free, (list) => list.fill(free, span(out, 1), 2, 1));
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    expect(finished).toBe(false);
    expect([...contents(out)]).toEqual([0, 2]);
    gate.open();
    await finishing;
    expect([...contents(out)]).toEqual([1, 2]);
    expect(device.waits).toBe(0);
  });
});

test("the time of an event follows the order of the records", async () => {
  await withDevice({}, async (device) => {
    const stream = device.createStream("s");
    const [first, second] = [device.createEvent(), device.createEvent()];
    expect((await errorOf(() => first.time())).code).toBe("ZO2_ERR_INVALID_ARGUMENT");
    await submitted(device, stream, (list) => {
      list.record(stream, first);
      list.record(stream, second);
    });
    expect(second.time()).toBeGreaterThanOrEqual(first.time());
  });
});

test("an event that was never recorded is refused by done(), and poisons a stream that waits on it", async () => {
  await withDevice({}, async (device) => {
    const event = device.createEvent();
    expect((await errorOf(event.done())).code).toBe("ZO2_ERR_INVALID_ARGUMENT");
    const stream = device.createStream("s");
    const error = await errorOf(submitted(device, stream, (list) => list.wait(stream, event)));
    expect(error.code).toBe("ZO2_ERR_INVALID_ARGUMENT");
    expect(error.message).toMatch(/command 0 of 2 \(wait\)/);
  });
});

test("what follows a failure on its stream is skipped; its events carry the error; other streams go on", async () => {
  await withDevice({}, async (device) => {
    const bad = device.createStream("bad");
    const good = device.createStream("good");
    const out = await device.createBuffer("host", 3);
    const failed = device.createEvent();
    submit(device, (list) => {
      list.fill(bad, span(out), 1, 1);
      list.wait(bad, device.createEvent());
      list.fill(bad, span(out, 1), 1, 1);
      list.record(bad, failed);
    });
    const [first, again] = await Promise.all([errorOf(failed.done()), errorOf(failed.done())]);
    expect([first.code, again.code]).toEqual(["ZO2_ERR_INVALID_ARGUMENT", "ZO2_ERR_INVALID_ARGUMENT"]);
    await submitted(device, good, (list) => list.fill(good, span(out, 2), 3, 1));
    expect([...contents(out)]).toEqual([1, 0, 3]);
    const infected = await errorOf(submitted(device, good, (list) => list.wait(good, failed)));
    expect(infected.message).toMatch(/never recorded/);
  });
});

test("done() follows the record that was submitted before it, not an earlier one", async () => {
  await withDevice({}, async (device) => {
    const stream = device.createStream("s");
    const gate = device.createGate();
    const event = device.createEvent();
    submit(device, (list) => list.record(stream, event));
    await event.done();
    submit(device, (list) => {
      list.hold(stream, gate);
      list.record(stream, event);
    });
    let fired = false;
    const second = event.done().then(() => (fired = true));
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    expect(fired).toBe(false);
    gate.open();
    await second;
  });
});

test("device memory past the limit is refused with the bytes asked for, in use and allowed", async () => {
  await withDevice({ memoryLimit: 1000 }, async (device) => {
    const first = await device.createBuffer("device", 600);
    const error = await errorOf(device.createBuffer("device", 500));
    expect(error.code).toBe("ZO2_ERR_OUT_OF_MEMORY");
    expect(error.message).toMatch(/500.*600.*1000/);
    await device.createBuffer("host", 5000);
    first.dispose();
    await device.createBuffer("device", 1000);
    expect(device.info()).toMatchObject({ deviceBytes: 1000, deviceBytesPeak: 1000, memoryLimit: 1000 });
  });
});

test("a disposed object lives on in the commands that were submitted with it", async () => {
  await withDevice({}, async (device) => {
    const stream = device.createStream("s");
    const out = await device.createBuffer("host", 4);
    const source = await hostBytes(device, Uint8Array.of(9, 8, 7, 6));
    const arena = await device.createBuffer("device", 4);
    const gate = device.createGate();
    const [first, last] = [device.createEvent(), device.createEvent()];
    const later = await device.createBuffer("device", 1 << 16);
    submit(device, (list) => {
      list.hold(stream, gate);
      list.copy(stream, span(arena), span(source), 4);
      list.record(stream, first);
      list.wait(stream, first);
      list.copy(stream, span(out), span(arena), 4);
      list.record(stream, last);
    });
    const done = last.done();
    for (const handle of [stream, source, arena, first, last, later]) handle.dispose();
    gate.open();
    await done;
    expect([...contents(out)]).toEqual([9, 8, 7, 6]);
  });
});

test("disposing a closed gate lets its stream go on", async () => {
  await withDevice({}, async (device) => {
    const stream = device.createStream("s");
    const gate = device.createGate();
    const event = device.createEvent();
    submit(device, (list) => {
      list.hold(stream, gate);
      list.record(stream, event);
    });
    gate.dispose();
    await event.done();
  });
});

test("a loss of logits reaches its probe with the labels it was given", async () => {
  await withDevice({}, async (device) => {
    const stream = device.createStream("loss");
    const given = await hostBytes(device, new Uint8Array(Float32Array.of(5, 2, 1, -4).buffer));
    const values = await device.createBuffer("device", 8);
    const losses = await device.createBuffer("device", 2 * LOSS_BYTES);
    const back = await device.createBuffer("host", 2 * LOSS_BYTES);
    await submitted(device, stream, (list) => {
      list.fill(stream, span(losses), 0, 2 * LOSS_BYTES);
      list.copy(stream, span(values), span(given), 8);
      list.loss(stream, {
        kind: LOSS.squared,
        values: span(values),
        targets: 2,
        labels: span(given, 8),
        choices: null,
        choiceCount: 0,
        examples: null,
        exampleCount: 0,
        losses: span(losses),
        probe: 1,
        first: true,
      });
      list.copy(stream, span(back), span(losses), 2 * LOSS_BYTES);
    });
    expect([...new Float64Array(contents(back).buffer, 0, 2)]).toEqual([0, 16 + 36]);
  });
});

test("a step of three probes along two directions moves the weights, and two sides stand off them", async () => {
  await withDevice({}, async (device) => {
    const stream = device.createStream("step");
    const onDevice = async (values: Float32Array | Float64Array) => {
      const { byteLength } = values;
      const given = await hostBytes(device, new Uint8Array(values.buffer));
      const buffer = await device.createBuffer("device", byteLength);
      await submitted(device, stream, (list) => list.copy(stream, span(buffer), span(given), byteLength));
      return buffer;
    };
    const wire = await onDevice(Float32Array.of(1, 1, 1, 1));
    const z = await onDevice(Float32Array.of(1, 2, 3, 4, 8, 0, -8, 16));
    const losses = await onDevice(Float64Array.of(12, 4, 8));
    const coefficients = await device.createBuffer("device", 2 * COEFFICIENT_BYTES);
    const sticky = await device.createBuffer("device", STICKY_BYTES);
    const scratch = await device.createBuffer("device", 128);
    const back = await device.createBuffer("host", 64);
    await submitted(device, stream, (list) => {
      list.fill(stream, span(sticky), 0, STICKY_BYTES);
      list.gradient(stream, {
        losses: span(losses),
        probes: 3,
        total: 4,
        differences: [
          { minuend: 0, subtrahend: 1 },
          { minuend: 2, subtrahend: 1 },
        ],
        divisor: 2,
        ...{ shaping: SHAPING.none, normalised: false },
        coefficients: span(coefficients),
        step: 0,
        sticky: span(sticky),
      });
      list.prepare(stream, {
        layout: device.createLayout(Float64Array.of(0, 4, 0, 0, 0, 0, 0, 0, 0, 0)),
        wire: span(wire),
        sides: [
          { scratch: span(scratch), eps: 0.5 },
          { scratch: span(scratch, 64), eps: 2 },
        ],
        rows: null,
        rowCount: 0,
        noise: NOISE.buffer,
        ...{ rank: 0, interval: 0 },
        seed: 1n,
        step: 1,
        direction: 0,
        z: span(z),
        store: true,
        rounding: ROUND.nearest,
        sticky: span(sticky),
        updates: [
          {
            noise: NOISE.buffer,
            ...{ rank: 0, interval: 0 },
            seed: 1n,
            step: 0,
            directions: 2,
            coefficients: span(coefficients),
            learningRate: 0.5,
            weightDecay: 0,
            z: span(z),
            zStride: 16,
          },
        ],
      });
      list.copy(stream, span(back), span(coefficients), 2 * COEFFICIENT_BYTES);
      list.copy(stream, span(back, 16), span(wire), 16);
      list.copy(stream, span(back, 32), span(scratch), 16);
      list.copy(stream, span(back, 48), span(scratch, 64), 16);
    });
    const { buffer } = contents(back);
    expect([...new Float32Array(buffer, 0, 3)].filter((_, i) => i !== 1)).toEqual([1, 0.5]);
    expect([...new Uint32Array(buffer, 0, 4)].filter((_, i) => i % 2 === 1)).toEqual([1, 1]);
    expect([...new Float32Array(buffer, 16, 4)]).toEqual([-0.25, 0.5, 1.25, -2]);
    expect([...new Float32Array(buffer, 32, 4)]).toEqual([0.25, 1.5, 2.75, 0]);
    expect([...new Float32Array(buffer, 48, 4)]).toEqual([1.75, 4.5, 7.25, 6]);
  });
});

test("a program writes into the cache space, and spaces that it does not use may be left out", async () => {
  await withDevice({}, async (device) => {
    const stream = device.createStream("run");
    const weights = await hostBytes(device, new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer));
    const source = await device.createBuffer("device", 24);
    const cache = await device.createBuffer("device", 24);
    const back = await device.createBuffer("host", 24);
    const sizes = new Float64Array(Object.keys(SPACE).length);
    sizes[SPACE.weights] = sizes[SPACE.cache] = 24;
    const words = [4, 2, 1, 0, SPACE.cache, 0, 0, 3, 2, 2, SPACE.weights, 0, 0, 2, 3, 3, OPS.transpose.code, 2, 0, 1];
    const program = device.createProgram(Float64Array.from(words), sizes);
    await submitted(device, stream, (list) => {
      list.copy(stream, span(source), span(weights), 24);
      const unused = { carried: null, workspace: null, inputs: null, results: null };
      const symbols = { rows: 0, sequences: 0, headRows: 0, targets: 0, tableRows: 0, prefixRows: 0, keyRows: 0 };
      list.run(stream, { program, spaces: { ...unused, weights: span(source), cache: span(cache) }, symbols });
      list.copy(stream, span(back), span(cache), 24);
    });
    expect([...new Float32Array(contents(back).buffer)]).toEqual([1, 4, 2, 5, 3, 6]);
  });
});

test("an empty list is accepted", async () => {
  await withDevice({}, async (device) => {
    submit(device, () => undefined);
    await device.createBuffer("host", 0);
  });
});

test("closing a device rejects what has not happened, and waits for the rest", async () => {
  const { native } = await import("./support.js");
  const device = await native.openDevice(DEVICE, { threads: 1 });
  const stream = device.createStream("s");
  const gate = device.createGate();
  const event = device.createEvent();
  submit(device, (list) => {
    list.hold(stream, gate);
    list.record(stream, event);
  });
  const done = errorOf(event.done());
  const closing = device.close();
  expect((await done).code).toBe("ZO2_ERR_CANCELLED");
  await closing;
  await device.close();
  expect(device.waits).toBe(0);
});

test("a buffer that is being made while its device closes is of no use, and nothing waits for it", async () => {
  const { native } = await import("./support.js");
  const device = await native.openDevice(DEVICE, { threads: 1 });
  const buffer = errorOf(device.createBuffer("host", 100).then((made) => made.read(0, new Uint8Array(1))));
  const closing = device.close();
  expect(["ZO2_ERR_CANCELLED", "ZO2_ERR_DISPOSED"]).toContain((await buffer).code);
  await closing;
  expect(device.waits).toBe(0);
});
