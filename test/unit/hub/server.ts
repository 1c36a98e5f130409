import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/**
 * A repository as the Hub would hold it. Files of weights are large ones: named by SHA-256 and served by another host.
 */
export interface FakeRepository {
  commit: string;
  files: Record<string, Buffer>;
  /** Branches and tags, beside "main". */
  refs?: string[];
  gated?: boolean;
  /** Who may see it. */
  token?: string;
}

export interface Logged {
  readonly host: "hub" | "cdn";
  readonly method: string;
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
  readonly status: number;
  /** Of the body, as far as it was sent. */
  readonly bytes: number;
}

/** Decides over an answer before the routes do: returns true when it has answered. */
export type Fault = (host: "hub" | "cdn", request: IncomingMessage, response: ServerResponse) => boolean;

type Answer = (request: IncomingMessage, response: ServerResponse, url: URL) => void | Promise<void>;

export const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
export const gitSha1 = (bytes: Buffer): string =>
  createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
export const isLarge = (name: string): boolean => /\.(safetensors|bin|h5|gguf|parquet)$/.test(name);
export const etagOf = (name: string, bytes: Buffer): string => (isLarge(name) ? sha256(bytes) : gitSha1(bytes));

/**
 * The routes of huggingface.co that a download uses, on two ports: the Hub, and the content server that it redirects
 * to.
 */
export class FakeHub {
  readonly repositories = new Map<string, FakeRepository>();
  /** Data sets by their id, and by "id@revision" for another branch than the main one. */
  readonly datasets = new Map<string, FakeRepository>();
  readonly log: Logged[] = [];
  fault: Fault = () => false;
  /** After so many bytes of a file the connection is cut, or falls silent, this many times. */
  cut: { after: number; times: number; silent?: boolean } = { after: 0, times: 0 };
  ranges = true;
  pageSize = 1000;
  /** What the content server sends in place of a file. */
  readonly tampered = new Map<string, Buffer>();
  /** Overrides fields of the entries of the list of files. */
  readonly listed = new Map<string, object>();
  /** Awaited before each answer of the content server. */
  gate: Promise<void> = Promise.resolve();
  private readonly servers: Server[] = [];
  endpoint = "";
  cdn = "";

  async start(): Promise<this> {
    this.endpoint = await this.listen("hub", (request, response, url) => this.hub(request, response, url));
    this.cdn = (await this.listen("cdn", (request, response, url) => this.content(request, response, url))).replace(
      "127.0.0.1",
      "localhost",
    );
    return this;
  }

  async stop(): Promise<void> {
    for (const server of this.servers) {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
  }

  /** Bytes of files sent, of requests whose path has `part`. */
  sent(part = "/"): number {
    return this.log
      .filter((l) => l.path.includes(part) && !l.path.startsWith("/api/"))
      .reduce((sum, l) => sum + l.bytes, 0);
  }

  private async listen(host: "hub" | "cdn", answer: Answer): Promise<string> {
    const server = createServer((request, response) => {
      let bytes = 0;
      const write = response.write.bind(response) as (chunk: Buffer, then?: () => void) => boolean;
      response.write = ((chunk: Buffer, then?: () => void) => (
        (bytes += chunk.length), write(chunk, then)
      )) as typeof response.write;
      response.once("close", () => {
        const { method = "", url = "", headers } = request;
        const path = new URL(url, "http://x").pathname;
        this.log.push({
          host,
          method,
          path,
          range: headers.range,
          authorization: headers.authorization,
          status: response.statusCode,
          bytes,
        });
      });
      if (!this.fault(host, request, response)) void answer(request, response, new URL(request.url ?? "/", "http://x"));
    });
    this.servers.push(server);
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  private hub(request: IncomingMessage, response: ServerResponse, url: URL): void {
    const api = /^\/api\/(?:models|datasets)\/(.+)\/(revision|tree)\/([^/]+)$/.exec(url.pathname);
    const file = /^\/(?:datasets\/)?(.+)\/resolve\/([^/]+)\/(.+)$/.exec(url.pathname);
    const id = api?.[1] ?? file?.[1] ?? "";
    const asked = decodeURIComponent(api?.[3] ?? file?.[2] ?? "");
    const repository = /^\/(?:api\/)?datasets\//.test(url.pathname)
      ? this.dataset(id, asked)
      : this.repositories.get(id);
    const token = request.headers.authorization?.replace("Bearer ", "");
    if (
      repository === undefined ||
      (repository.token !== undefined && !repository.gated && token !== repository.token)
    ) {
      return refuse(response, token === undefined ? 401 : 404, "RepoNotFound");
    }
    const revision = decodeURIComponent(api?.[3] ?? file?.[2] ?? "");
    if (!["main", repository.commit, ...(repository.refs ?? [])].includes(revision))
      return refuse(response, 404, "RevisionNotFound");
    if (api?.[2] === "revision") return this.info(response, url, api[1], repository);
    if (api?.[2] === "tree") return this.tree(response, url, repository);
    if (repository.gated && token !== repository.token)
      return refuse(response, token === undefined ? 401 : 403, "GatedRepo");
    const name = decodeURIComponent(file?.[3] ?? "");
    const bytes = repository.files[name];
    if (bytes === undefined) return refuse(response, 404, "EntryNotFound");
    response.setHeader("x-repo-commit", repository.commit);
    response.setHeader("accept-ranges", "bytes");
    if (!isLarge(name)) {
      response.setHeader("etag", `"${gitSha1(bytes)}"`);
      return this.send(request, response, bytes);
    }
    response.setHeader("x-linked-etag", `"${sha256(bytes)}"`);
    response.setHeader("x-linked-size", bytes.length);
    response.writeHead(302, { location: `${this.cdn}/${sha256(bytes)}/${name}?Signature=secret` }).end();
  }

  /** The branch of a data set, by its name or the commit that it stands at. */
  private dataset(id: string, revision: string): FakeRepository | undefined {
    const branches = [...this.datasets].filter(([key]) => key === id || key.startsWith(`${id}@`));
    const branch = branches.find(([key, { commit }]) => key === `${id}@${revision}` || commit === revision);
    return branch?.[1] ?? this.datasets.get(id);
  }

  private info(response: ServerResponse, url: URL, id: string, repository: FakeRepository): void {
    const expanded = new Set(url.searchParams.getAll("expand"));
    const all = {
      sha: repository.commit,
      siblings: Object.keys(repository.files).map((rfilename) => ({ rfilename })),
      gated: repository.gated ? "manual" : false,
      private: repository.token !== undefined,
      downloads: 1,
      likes: 1,
      lastModified: "2024-01-01T00:00:00.000Z",
      tags: [],
    };
    json(response, {
      _id: "1",
      id,
      ...Object.fromEntries(Object.entries(all).filter(([key]) => expanded.size === 0 || expanded.has(key))),
    });
  }

  private tree(response: ServerResponse, url: URL, repository: FakeRepository): void {
    const entries: object[] = [];
    for (const [path, bytes] of Object.entries(repository.files)) {
      if (path.includes("/") && url.searchParams.get("recursive") !== "true") continue;
      const large = isLarge(path) ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 135 } } : {};
      entries.push({ type: "file", path, size: bytes.length, oid: gitSha1(bytes), ...large, ...this.listed.get(path) });
    }
    const from = Number(url.searchParams.get("cursor") ?? 0);
    const to = from + this.pageSize;
    url.searchParams.set("cursor", String(to));
    if (to < entries.length) response.setHeader("link", `<${this.endpoint}${url.pathname}${url.search}>; rel="next"`);
    json(response, entries.slice(from, to));
  }

  private async content(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    await this.gate;
    const [, etag, name] = url.pathname.split("/");
    if (url.searchParams.get("Signature") !== "secret") return refuse(response, 403, "");
    const all = [...this.repositories.values(), ...this.datasets.values()];
    for (const bytes of all.flatMap(({ files }) => Object.values(files))) {
      if (sha256(bytes) !== etag) continue;
      response.setHeader("etag", `"cdn-${etag.slice(0, 8)}"`);
      return this.send(request, response, this.tampered.get(decodeURIComponent(name)) ?? bytes);
    }
    refuse(response, 404, "");
  }

  private send(request: IncomingMessage, response: ServerResponse, bytes: Buffer): void {
    const range = this.ranges ? /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") : null;
    const start = range === null ? 0 : Number(range[1]);
    if (start > 0 && start >= bytes.length) return refuse(response, 416, "");
    const end = range === null || range[2] === "" ? bytes.length : Number(range[2]) + 1;
    const body = bytes.subarray(start, end);
    const headers = {
      "content-length": body.length,
      ...(range === null ? {} : { "content-range": `bytes ${start}-${end - 1}/${bytes.length}` }),
    };
    response.writeHead(range === null ? 200 : 206, headers);
    if (request.method === "HEAD") return void response.end();
    if (this.cut.times > 0 && body.length > this.cut.after) {
      this.cut.times--;
      response.write(body.subarray(0, this.cut.after));
      return void (this.cut.silent === true || setTimeout(() => response.destroy(), 50));
    }
    response.write(body);
    response.end();
  }
}

export function refuse(
  response: ServerResponse,
  status: number,
  code: string,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, {
    "content-type": "application/json",
    ...(code === "" ? {} : { "x-error-code": code }),
    ...headers,
  });
  response.end(JSON.stringify({ error: code || `status ${status}` }));
}

function json(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
}
