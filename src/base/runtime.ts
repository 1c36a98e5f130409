/** What runs this program, with its version: "Node 20.17.0", "Bun 1.4.5". The others all claim to be some Node too. */
export function runtimeName(versions: Readonly<Record<string, string | undefined>> = process.versions): string {
  for (const name of ["Bun", "Deno", "Electron"]) {
    const version = versions[name.toLowerCase()];
    if (version !== undefined) return `${name} ${version}`;
  }
  return `Node ${versions["node"] ?? "of an unknown version"}`;
}
