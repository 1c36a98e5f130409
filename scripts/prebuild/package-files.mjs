/** What lies beside the addon in a package that brings it. */
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { BuildError, root } from "../addon/settings.mjs";

const WHAT = { cpu: "the CPU backend", cuda: "the CPU and the CUDA backend" };
/** Where distributions keep the licences of what is linked in. */
const LICENCES = {
  OpenBLAS: [
    "/usr/share/doc/libopenblas-pthread-dev/copyright",
    "/usr/share/doc/libopenblas-dev/copyright",
    "/usr/share/licenses/openblas/LICENSE",
  ],
  liburing: ["/usr/share/doc/liburing-dev/copyright", "/usr/share/licenses/liburing/LICENSE"],
};

/** @returns name and text of each file */
export function packageFiles(about) {
  return [
    ["package.json", `${JSON.stringify(manifest(about), null, 2)}\n`],
    ["README.md", readme(about)],
    ["LICENSE", fs.readFileSync(path.join(root, "LICENSE"), "utf8")],
    ["THIRD_PARTY_NOTICES.md", notices(about)],
  ];
}

function manifest({ name, variant, version, contract, glibc }) {
  return {
    name,
    version,
    description: `The native addon of zo2, built: ${WHAT[variant]}`,
    license: "SEE LICENSE IN THIRD_PARTY_NOTICES.md",
    os: [process.platform],
    cpu: [process.arch],
    libc: ["glibc"],
    main: "zo2.node",
    files: ["zo2.node", "THIRD_PARTY_NOTICES.md"],
    // Nothing can be loaded out of an archive, which is what Yarn would keep it in.
    preferUnplugged: true,
    engines: { node: ">=20.17" },
    zo2: { contract, glibc },
  };
}

function readme({ name, variant, version, glibc }) {
  return `# ${name}

The native addon of [zo2](https://www.npmjs.com/package/zo2) ${version}, built with ${WHAT[variant]}.
zo2 takes it where it is installed beside it in the same version, and then compiles nothing:

\`\`\`sh
npm install zo2@${version} ${name}@${version}
\`\`\`

For Linux with glibc ${glibc} or later on ${process.arch}. Vector instructions are used where the processor has them,
and are not needed.
`;
}

function notices({ variant, openBlas, liburing }) {
  const rows = [
    "| node-addon-api, node-api-headers (headers) | MIT |",
    "| the C++ standard library of GCC, statically | GPL-3.0 with the GCC Runtime Library Exception 3.1 |",
    ...(openBlas ? ["| OpenBLAS, statically | BSD-3-Clause, with those of BLAS and LAPACK in it: below |"] : []),
    ...(liburing ? ["| liburing, statically | MIT: below |"] : []),
    ...(variant === "cuda"
      ? [
          "| the CUDA runtime library, statically | NVIDIA's CUDA Toolkit End User License Agreement, " +
            "whose Attachment A lets it be distributed in a program |",
        ]
      : []),
  ];
  return `# Third-party notices

The sources are licensed under the Apache License 2.0 (\`LICENSE\`). Linked into \`zo2.node\`:

| what | licence |
|---|---|
${rows.join("\n")}
${openBlas ? licenceOf("OpenBLAS") : ""}${liburing ? licenceOf("liburing") : ""}`;
}

/** A chapter with the licence of what is linked in. */
function licenceOf(library) {
  const file = LICENCES[library].find((name) => fs.existsSync(name));
  if (file === undefined)
    throw new BuildError(`the licence of ${library} was not found in ${LICENCES[library].join(", ")}`);
  return `\n## ${library}\n\n\`\`\`\n${fs.readFileSync(file, "utf8").trim()}\n\`\`\`\n`;
}
