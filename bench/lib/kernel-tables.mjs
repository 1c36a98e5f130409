/** The tables of docs/kernels.md, from what scripts/kernel-figures.mjs wrote. */
import { table } from "./markdown.mjs";

const DTYPES = ["fp32", "fp16", "bf16"];
const NOISES = ["Gaussian", "Rademacher"];
const UPDATES = ["none", "to nearest", "stochastic"];
const PREPARE = /^prepare_uniform<(\d), (\d), zo2_noise_kind (\d), Update (\d)>$/;

const madeBy = ({ compiler }) => `Compiled by nvcc ${compiler}.`;
const count = (n) => n.toLocaleString("en");

/** A cell of several architectures: one value where they agree. */
function joined(values) {
  return new Set(values).size === 1 ? values[0] : values.join(" / ");
}

/** Markdown of `kernels.json`: what each kernel takes on each architecture. */
export function kernelsBlock(result) {
  const { archs, kernels } = result;
  const rows = kernels.map(({ file, kernel, archs: of }) => {
    const each = (cell) => joined(archs.map((arch) => (of[arch] === undefined ? "" : cell(of[arch]))));
    return [
      `\`${file.replace(/^cuda\/(ops\/)?/, "")}\``,
      `\`${kernel}\``,
      each((f) => String(f.registers)),
      each((f) => count(f.spill)),
      each((f) => count(f.static)),
      each((f) => count(f.dynamic)),
      each((f) => count(f.instructions)),
    ];
  });
  const head = ["file", "kernel", "registers", "spilled", "static", "dynamic", "instructions"];
  return [table(head, rows, 2), "", `${kernels.length} kernels for ${archs.join(" / ")}. ${madeBy(result)}`].join("\n");
}

/** Markdown of `kernels.json`: instructions of prepare for a group of eight elements. */
export function preparePathBlock(result) {
  const { archs, kernels } = result;
  const rows = kernels.flatMap(({ kernel, archs: of }) => {
    const match = PREPARE.exec(kernel);
    if (match === null) return [];
    const [wire, scratch, noise, update] = match.slice(1).map(Number);
    if (wire !== scratch) return [];
    return [[DTYPES[wire], NOISES[noise], UPDATES[update], ...archs.map((arch) => count(of[arch].group))]];
  });
  return [table(["wire and compute", "noise", "update", ...archs], rows, 3), "", madeBy(result)].join("\n");
}
