/** verdaccio on a free port: our packages from here, all others through the registry that npm is set to. */
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import process from "node:process";
import { setTimeout } from "node:timers/promises";

const START_MS = 90_000;

const configuration = (upstream) => `
storage: ./storage
uplinks: { upstream: { url: ${JSON.stringify(upstream)} } }
packages:
  "@zo2/*": { access: $all, publish: $anonymous }
  zo2: { access: $all, publish: $anonymous }
  "**": { access: $all, proxy: upstream }
max_body_size: 200mb
log: { type: stdout, format: pretty, level: error }
`;

function freePort() {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

export async function startRegistry({ verdaccio, recentNode }, folder) {
  fs.mkdirSync(folder, { recursive: true });
  const upstream = spawnSync("npm", ["config", "get", "registry"], { encoding: "utf8" }).stdout.trim();
  fs.writeFileSync(path.join(folder, "config.yaml"), configuration(upstream));
  const port = await freePort();
  const args = [verdaccio, "--config", "config.yaml", "--listen", `127.0.0.1:${port}`];
  const child = spawn(recentNode, args, { cwd: folder, stdio: ["ignore", "inherit", "inherit"] });
  const url = `http://127.0.0.1:${port}/`;
  const until = Date.now() + START_MS;
  for (;;) {
    const up = await fetch(`${url}-/ping`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (up) break;
    if (child.exitCode !== null || Date.now() > until) throw new Error("verdaccio does not start");
    await setTimeout(200);
  }
  const npmrc = path.join(folder, "npmrc");
  fs.writeFileSync(npmrc, `//127.0.0.1:${port}/:_authToken=anyone\n`);
  return {
    url,
    publish(tarball) {
      const args = ["publish", "--userconfig", npmrc, "--registry", url, "--ignore-scripts", tarball];
      const { status, stderr } = spawnSync("npm", args, { encoding: "utf8", env: process.env });
      if (status !== 0) throw new Error(`npm publish ${tarball}: ${stderr}`);
    },
    stop: () => child.kill(),
  };
}
