import type { Device, Event, Stream } from "zo2/native";
import { at } from "../base/at.js";
import { type Command, type Declared, type Lane, LANES } from "../schedule/command.js";
import { type Ordered, Timeline } from "../schedule/timeline.js";
import { USE, withAdvice } from "./allocate.js";
import { CommandWords } from "./words.js";

/** Adds the native commands of one piece of work to the list. Its lane is the one it runs on. */
export type Encode = (words: CommandWords, stream: Stream, command: Declared) => void;

type Streams = Readonly<Record<Lane, Stream>>;

/**
 * The one way to a device: every list of commands is put in order by the same timeline, and issued on a stream for
 * each lane by the device's submitter thread. The JavaScript thread never waits.
 */
export class Queue {
  private timeline: Timeline;
  /** Null where they could not be made anew. */
  private streams: Streams | null;
  private readonly events: Event[] = [];
  /** One for each lane. */
  private readonly passed: Event[] = [];
  private readonly words = new CommandWords();

  constructor(
    private readonly device: Device,
    private readonly overlap: boolean,
  ) {
    this.timeline = new Timeline(overlap);
    this.streams = this.createStreams();
  }

  /** Submits a list; the promise of the result resolves when its last command has run, and rejects with its failure. */
  submit(list: readonly Declared[], encode: Encode): { readonly done: Promise<void> } {
    // First: what was ordered has to be issued.
    this.streams ??= this.createStreams();
    return this.issue(this.streams, this.timeline.order(list), encode);
  }

  /**
   * Resolves when every stream has run all that was submitted, so that what is disposed next is freed at once. A list
   * holds on to what its commands use until each of its streams has run past it, which is a moment behind its end.
   */
  async settle(): Promise<void> {
    if (this.streams === null) return;
    await this.issue(this.streams, this.timeline.settle(), () => undefined).done.catch(() => undefined);
    const streams = Object.values(this.streams);
    while (this.passed.length < streams.length) this.passed.push(this.device.createEvent());
    this.words.clear();
    for (const [lane, stream] of streams.entries()) this.words.record(stream, at(this.passed, lane));
    this.device.submit(this.words.list, this.words.handles);
    await Promise.all(this.passed.map((event) => event.done().catch(() => undefined)));
  }

  /**
   * Begins anew on streams that no failure has poisoned. Everything must have settled.
   * @throws Zo2Error ZO2_ERR_OUT_OF_MEMORY; what is submitted next tries again
   */
  renew(): void {
    this.dispose();
    this.streams = null;
    this.timeline = new Timeline(this.overlap);
    this.streams = this.createStreams();
  }

  dispose(): void {
    for (const event of [...this.events.splice(0), ...this.passed.splice(0)]) event.dispose();
    for (const stream of Object.values(this.streams ?? {})) stream.dispose();
  }

  private createStreams(): Streams {
    const streams: Partial<Record<Lane, Stream>> = {};
    try {
      for (const lane of LANES) streams[lane] = this.device.createStream(lane);
      return streams as Record<Lane, Stream>;
    } catch (error) {
      for (const stream of Object.values(streams)) stream.dispose();
      throw withAdvice(error, USE.control);
    }
  }

  private issue(streams: Streams, { commands, end }: Ordered, encode: Encode): { readonly done: Promise<void> } {
    const { timeline, words } = this;
    words.clear();
    for (const command of commands) this.encode(words, streams[command.lane], command, encode);
    this.device.submit(words.list, words.handles);
    return {
      done: this.event(end.event)
        .done()
        .then(() => timeline.hostSaw(end)),
    };
  }

  private encode(words: CommandWords, stream: Stream, command: Command, encode: Encode): void {
    if (command.kind === "work") encode(words, stream, command);
    else if (command.kind === "record") words.record(stream, this.event(command.event));
    else words.wait(stream, this.event(command.event));
  }

  private event(number: number): Event {
    while (this.events.length <= number) this.events.push(this.device.createEvent());
    return at(this.events, number);
  }
}
