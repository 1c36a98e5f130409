/** One configuration per kind of test; `scripts/test.mjs` says which run where. */
const swc = (syntax) => ["@swc/jest", { jsc: { target: "es2022", parser: { syntax } }, module: { type: "commonjs" } }];
/** Packages that are ES modules only. */
const MODULES = "hyparquet|hyparquet-compressors|hysnappy";
const base = {
  rootDir: __dirname,
  testEnvironment: "node",
  // dist/cjs names itself "zo2" too, for its own self-reference.
  modulePathIgnorePatterns: ["<rootDir>/dist/"],
  transform: { "^.+\\.ts$": swc("typescript"), [`/node_modules/(${MODULES})/.+\\.js$`]: swc("ecmascript") },
  transformIgnorePatterns: [`/node_modules/(?!(${MODULES})/)`],
  // Sources import "./x.js" as Node's ESM resolver wants it; the tests run the TypeScript itself.
  moduleNameMapper: {
    "^(\\.{1,2}/.*)\\.js$": "$1",
    "^zo2$": "<rootDir>/src/index.ts",
    "^zo2/native$": "<rootDir>/binding/native.cjs",
  },
};
const project = (name) => ({
  ...base,
  displayName: name,
  testMatch: [`<rootDir>/test/${name}/**/*.test.ts`],
  // The script of a page is bundled from its sources as they are now.
  ...(name === "unit" || name === "browser" ? { globalSetup: "<rootDir>/scripts/build-page.mjs" } : {}),
});
const projects = ["unit", "native", "stress", "browser"].map(project);
// By default jest leaves one core alone: half of a machine that has two.
module.exports = { projects, testTimeout: 120000, maxWorkers: "100%" };
