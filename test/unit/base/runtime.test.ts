import { runtimeName } from "../../../src/base/runtime.js";

it.each([
  [{ node: "22.1.0", v8: "12" }, "Node 22.1.0"],
  [{ node: "26.3.0", bun: "1.4.5", webkit: "x" }, "Bun 1.4.5"],
  [{ node: "26.3.0", deno: "2.9.6", v8: "14" }, "Deno 2.9.6"],
  [{ node: "24.0.0", electron: "41.0.0", chrome: "140" }, "Electron 41.0.0"],
])("%j is %s, whatever Node it says that it is", (versions, name) => {
  expect(runtimeName(versions)).toBe(name);
});

it("is of this process unless told otherwise", () => {
  expect(runtimeName()).toBe(`Node ${process.versions.node}`);
});
