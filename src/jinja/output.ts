import { spendText } from "./budget.js";

/** A text that is being written. */
export class Output {
  private readonly parts: string[] = [];
  private written = 0;

  /** UTF-16 units. */
  get length(): number {
    return this.written;
  }

  write(text: string): void {
    this.written += text.length;
    spendText(this.written);
    this.parts.push(text);
  }

  text(): string {
    return this.parts.join("");
  }
}
