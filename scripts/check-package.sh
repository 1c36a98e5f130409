#!/usr/bin/env bash
# Packs the package, installs the tarball into an empty project, and runs the README's program and the command line there.
# The program is the README's first ```ts block; it is compiled with the TypeScript that the repository has. Arguments are
# those of check-install.mjs: the ways of installing that are checked, all where none is given.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cd "$root"
# dist/ is compiled only where it is older than src/: CI runs tests over it meanwhile.
if [ ! -f dist/esm/index.js ] || [ -n "$(find src -newer dist/esm/index.js -print -quit)" ]; then npm run build:ts; fi
tarball=$(npm pack --silent --ignore-scripts --pack-destination "$work" | tail -n 1)
cd "$work"
if tar -tzf "$tarball" | grep -E '^package/(emulator|test)/'; then echo "the package has what only tests need"; exit 1; fi
cat > package.json <<'JSON'
{ "name": "consumer", "private": true, "type": "module", "allowScripts": { "zo2": true } }
JSON
# The kernels take minutes to compile, and npm install has compiled them once. This compiles the rest, once, as it is
# packed for other machines; the installations of check-install.mjs take it from the cache.
export ZO2_CUDA="${ZO2_CUDA:-off}" ZO2_BLAS="${ZO2_BLAS:-auto}" ZO2_PORTABLE=on ZO2_BUILD_CACHE="$work/cache"
npm install --no-audit --no-fund "./$tarball" >install.log 2>&1 || { cat install.log; exit 1; }

node --input-type=module -e '
  import { readFileSync, writeFileSync } from "node:fs";
  const block = /```ts\n([\s\S]*?)```/.exec(readFileSync(process.argv[1], "utf8"));
  if (block === null) throw new Error("README.md has no ts block");
  writeFileSync("program.ts", block[1]);
' "$root/README.md"
"$root/node_modules/.bin/tsc" --target es2022 --module nodenext --moduleResolution nodenext --strict --skipLibCheck \
  --lib es2023,esnext.disposable --types node --typeRoots "$root/node_modules/@types" program.ts
node program.js

node -e 'const { loadModel, Trainer } = require("zo2"); if (typeof loadModel !== "function" || typeof Trainer !== "function") throw new Error("require() of the package gives no API")'
npx zo2 info >/dev/null
npx zo2 demo --steps 3 --json | tail -n 1 | node -e '
  const result = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
  if (!(result.before.accuracy > 0 && result.after.loss > 0 && result.steps === 3)) throw new Error(`unexpected: ${JSON.stringify(result)}`);'
node "$root/scripts/check-install.mjs" "$tarball" "$@"
echo "the packed package installs, builds and runs in an empty project"
