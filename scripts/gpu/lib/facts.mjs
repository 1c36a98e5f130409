import { spawnSync } from "node:child_process";
import process from "node:process";
import { describeCommit, describeMachine } from "../../../bench/lib/machine.mjs";

/** First line that `command` prints; null when it cannot run. */
function line(command, args) {
  const result = spawnSync(command, args, { encoding: "utf8" });
  return result.status === 0 ? result.stdout.trim().split("\n")[0] : null;
}

/** `"release 13.0, V13.0.88"` of the nvcc that builds; null where there is none. */
function toolkit() {
  const result = spawnSync(process.env.CUDACXX ?? "nvcc", ["--version"], { encoding: "utf8" });
  return /release [^\n]*/.exec(result.stdout ?? "")?.[0] ?? null;
}

const FIELDS = [
  "name",
  "driver_version",
  "compute_cap",
  "memory.total",
  "clocks.sm",
  "clocks.max.sm",
  "clocks.mem",
  "power.limit",
];

/** What nvidia-smi says of the first device; null without one. */
export function describeGpu() {
  const text = line("nvidia-smi", [`--query-gpu=${FIELDS.join(",")}`, "--format=csv,noheader", "--id=0"]);
  if (text === null) return null;
  return Object.fromEntries(text.split(", ").map((value, i) => [FIELDS[i], value]));
}

/** The link of the first device to its host as it is at its best, `{generation, lanes}`; null where it is not named. */
export function describeLink() {
  const text = line("nvidia-smi", [
    "--query-gpu=pcie.link.gen.max,pcie.link.width.max",
    "--format=csv,noheader",
    "--id=0",
  ]);
  const [generation, lanes] = (text ?? "").split(",").map((part) => Number.parseInt(part, 10));
  return generation > 0 && lanes > 0 ? { generation, lanes } : null;
}

/** What a result was made on and from. `GIT_COMMIT` names the commit where there is no repository. */
export function facts(root, emulated) {
  const { commit, dirty } = describeCommit(root);
  return {
    emulated,
    gpu: emulated ? null : describeGpu(),
    toolkit: toolkit(),
    host: describeMachine(),
    node: process.version,
    ...(commit === "none" ? { commit: process.env.GIT_COMMIT ?? "unknown" } : { commit, dirty }),
    date: new Date().toISOString(),
  };
}
