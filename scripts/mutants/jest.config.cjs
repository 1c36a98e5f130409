/** The unit tests that know what is mutated; the others only know it through the command line. */
const path = require("node:path");
const { projects } = require("../../jest.config.cjs");

const ROOMS = "{checkpoint,config,data,device,generate,infer,memory,method,models,ops,schedule,train}";
const [unit] = projects;
module.exports = {
  ...unit,
  rootDir: path.join(__dirname, "../.."),
  testMatch: [`<rootDir>/test/unit/${ROOMS}/**/*.test.ts`],
  testTimeout: 120000,
};
