/**
 * Requests to one repository of the Hub: who sees the token, what is tried again, and what an answer's status means.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { errnoOf, isRecord, messageOf } from "../base/guards.js";
import { Zo2Error } from "../base/errors.js";
import type { Repository } from "./repository.js";
import type { HubSettings } from "./settings.js";

/** In a row, without a byte in between. */
const MAX_FAILURES = 5;
const MAX_REDIRECTS = 8;
const MAX_PAUSE_MS = 60_000;
/** Answers of the API are lists of files; a longer one is no such thing. */
const MAX_API_BYTES = 64 * 2 ** 20;
const MAX_API_REQUESTS = 1000;

/** In milliseconds. */
export interface Timing {
  /** Before the second attempt; doubled before each further one. */
  readonly retryMs: number;
  /** A connection on which nothing came for so long is given up. */
  readonly stallMs: number;
}

/** A failure that may be gone at the next attempt. */
export class PassingTrouble extends Error {
  constructor(
    message: string,
    readonly pauseMs = 0,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** The start of an answer. Either iterate `chunks` to its end or out of it, or `discard` it. */
export interface HubResponse {
  readonly status: number;
  readonly headers: Headers;
  readonly chunks: AsyncIterable<Uint8Array>;
  discard(): Promise<void>;
}

/** Attempts at one thing, with growing pauses. */
export class Attempts {
  private failures = 0;

  constructor(
    private readonly client: HubClient,
    private readonly what: string,
  ) {}

  /** Call when something came through: the count begins anew. */
  progressed(): void {
    this.failures = 0;
  }

  /**
   * Waits before the next attempt. @throws `error` if it will not pass, Zo2Error ZO2_ERR_IO after too many,
   * ZO2_ERR_ABORTED
   */
  async failed(error: unknown): Promise<void> {
    if (!(error instanceof PassingTrouble)) throw error;
    this.failures++;
    if (this.failures >= MAX_FAILURES) {
      throw new Zo2Error(
        "ZO2_ERR_IO",
        `${this.what}: ${this.failures} attempts failed, the last with ${error.message}; try again later, ` +
          `what has come is kept`,
        { cause: error },
      );
    }
    const pause = Math.min(
      Math.max(error.pauseMs, this.client.timing.retryMs * 2 ** (this.failures - 1)),
      MAX_PAUSE_MS,
    );
    await sleep(pause, undefined, this.client.signal === undefined ? {} : { signal: this.client.signal }).catch(
      () => undefined,
    );
    this.client.checkAborted();
  }
}

export class HubClient {
  private readonly origin: string;
  private apiRequests = 0;

  constructor(
    readonly settings: HubSettings,
    readonly repository: Repository,
    readonly signal: AbortSignal | undefined,
    readonly timing: Timing,
  ) {
    this.origin = new URL(settings.endpoint).origin;
  }

  fileUrl(commit: string, name: string): string {
    return `${this.pageUrl}/resolve/${commit}/${name.split("/").map(encodeURIComponent).join("/")}`;
  }

  private get pageUrl(): string {
    const { kind, id } = this.repository;
    return `${this.settings.endpoint}/${kind === "dataset" ? "datasets/" : ""}${id}`;
  }

  /** For errors: what is talked about. */
  get label(): string {
    return `${this.repository.id}@${this.repository.revision}`;
  }

  checkAborted(): void {
    if (this.signal?.aborted === true) {
      throw new Zo2Error(
        "ZO2_ERR_ABORTED",
        `${this.label}: the download was stopped; what has come is kept, and the next one goes on from there`,
        { cause: this.signal.reason },
      );
    }
  }

  /** `fetch` for the library's calls: small answers, whole and good, or a thrown `Zo2Error`. */
  readonly api: typeof globalThis.fetch = async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    if (++this.apiRequests > MAX_API_REQUESTS) {
      throw new Zo2Error("ZO2_ERR_IO", `${shown(url)}: more than ${MAX_API_REQUESTS} pages; this is no list of files`);
    }
    const attempts = new Attempts(this, shown(url));
    for (;;) {
      try {
        const response = await this.open(url, Object.fromEntries(new Headers(init?.headers)));
        return new Response(await collect(response, url), { status: response.status, headers: response.headers });
      } catch (error) {
        await attempts.failed(error);
      }
    }
  };

  /**
   * One GET, followed to where the Hub sends it: status 200, and 206 or 416 where `headers` ask for a range. The token
   * goes with requests to the Hub's own origin and to no other.
   *
   * @throws Zo2Error for what another attempt would not change, or an error that `Attempts` takes
   */
  async open(url: string, headers: Record<string, string>): Promise<HubResponse> {
    let target = new URL(url);
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      const response = await this.request(target, headers);
      if (![301, 302, 303, 307, 308].includes(response.status)) {
        const answered =
          response.status === 200 ||
          (headers["range"] !== undefined && (response.status === 206 || response.status === 416));
        if (answered) return response;
        throw await this.refusal(response, target);
      }
      await response.discard();
      const location = response.headers.get("location");
      const next = location === null || !URL.canParse(location, target.href) ? undefined : new URL(location, target);
      if (next === undefined || !mayFollow(target, next)) {
        throw new Zo2Error(
          "ZO2_ERR_IO",
          `${shown(target)}: status ${response.status} leads to no address that may be followed ` +
            `(${next === undefined ? "none" : shown(next)})`,
        );
      }
      target = next;
    }
    throw new Zo2Error(
      "ZO2_ERR_IO",
      `${shown(url)}: redirected more than ${MAX_REDIRECTS} times, last to ${shown(target)}`,
    );
  }

  private async request(target: URL, headers: Record<string, string>): Promise<HubResponse> {
    this.checkAborted();
    const { token } = this.settings;
    const authorization: Record<string, string> =
      token !== undefined && target.origin === this.origin ? { authorization: `Bearer ${token}` } : {};
    const control = new AbortController();
    const stop = () => control.abort();
    this.signal?.addEventListener("abort", stop, { once: true });
    const finish = () => this.signal?.removeEventListener("abort", stop);
    const failure = (error: unknown): Error => {
      finish();
      this.checkAborted();
      const reason = control.signal.aborted ? `nothing for ${this.timing.stallMs / 1000} s` : networkReason(error);
      return new PassingTrouble(`${reason} from ${shown(target)}`, 0, { cause: error });
    };
    const timed = async <T>(work: Promise<T>): Promise<T> => {
      const timer = setTimeout(stop, this.timing.stallMs);
      try {
        return await work;
      } catch (error) {
        throw failure(error);
      } finally {
        clearTimeout(timer);
      }
    };
    // Compressed answers have neither the length nor the bytes that the Hub's list names.
    const sent = { "user-agent": "zo2", "accept-encoding": "identity", ...headers, ...authorization };
    const response = await timed(fetch(target, { headers: sent, redirect: "manual", signal: control.signal }));
    const reader = response.body?.getReader();
    const discard = async () => {
      finish();
      await reader?.cancel().catch(() => undefined);
    };
    async function* chunks(): AsyncGenerator<Uint8Array> {
      try {
        while (reader !== undefined) {
          const { done, value } = await timed(reader.read());
          if (done) return;
          yield value as Uint8Array;
        }
      } finally {
        await discard();
      }
    }
    return { status: response.status, headers: response.headers, chunks: chunks(), discard };
  }

  /** The error for an answer that is neither content nor a redirect. */
  private async refusal(response: HubResponse, target: URL): Promise<Error> {
    await response.discard();
    const { status, headers } = response;
    const where = `${shown(target)}: status ${status}`;
    const { endpoint, token } = this.settings;
    const { kind, id, revision } = this.repository;
    // A signed address of a content server may have run out: the Hub gives a new one.
    const foreign = target.origin !== this.origin;
    if (status === 408 || status === 429 || status >= 500 || (foreign && (status === 401 || status === 403))) {
      return new PassingTrouble(`status ${status} from ${shown(target)}`, pauseAsked(headers));
    }
    if (foreign) return new Zo2Error("ZO2_ERR_IO", where);
    const said = headers.get("x-error-code");
    if (said === "GatedRepo") {
      const access =
        token === undefined
          ? "set HF_TOKEN"
          : "wait until access is granted, or set HF_TOKEN to the token of an account that has it";
      return new Zo2Error(
        "ZO2_ERR_CHECKPOINT",
        `${id}: gated; accept the licence at ${this.pageUrl} and ${access} (${where})`,
      );
    }
    if (said === "RevisionNotFound")
      return new Zo2Error("ZO2_ERR_CHECKPOINT", `${id}: has no revision ${JSON.stringify(revision)} (${where})`);
    if (said === "EntryNotFound")
      return new Zo2Error("ZO2_ERR_CHECKPOINT", `${id}: lists a file that it does not have (${where})`);
    if (status === 401 || status === 403 || status === 404) {
      const hint =
        token === undefined ? "if it is private, set HF_TOKEN" : "if it is private, the token in use may not read it";
      return new Zo2Error(
        "ZO2_ERR_CHECKPOINT",
        `${id}: ${kind === "model" ? "no folder of that name here, and no such repository" : "no such data set"} at ` +
          `${endpoint}; check the name, and ${hint} (${where})`,
      );
    }
    return new Zo2Error("ZO2_ERR_IO", where);
  }
}

/** Never from an encrypted connection to an open one. */
function mayFollow(from: URL, to: URL): boolean {
  return to.protocol === "https:" || (to.protocol === "http:" && from.protocol === "http:");
}

/** Without its query: signed addresses are secrets for as long as they hold. */
function shown(url: URL | string): string {
  const { origin, pathname } = typeof url === "string" ? new URL(url) : url;
  return origin + pathname;
}

async function collect(response: HubResponse, url: string): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.chunks) {
    bytes += chunk.byteLength;
    if (bytes > MAX_API_BYTES) {
      throw new Zo2Error("ZO2_ERR_IO", `${shown(url)}: more than ${MAX_API_BYTES} bytes; this is no list of files`);
    }
    parts.push(chunk);
  }
  return Buffer.concat(parts);
}

/** `fetch` says "fetch failed" and keeps the reason in the cause. */
function networkReason(error: unknown): string {
  const cause = isRecord(error) ? error["cause"] : undefined;
  const message = cause === undefined || messageOf(cause) === "" ? messageOf(error) : messageOf(cause);
  const code = errnoOf(cause);
  return code === undefined || message.includes(code) ? message : `${message} (${code})`;
}

function pauseAsked(headers: Headers): number {
  const seconds = Number(headers.get("retry-after") ?? 0);
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : 0;
}
