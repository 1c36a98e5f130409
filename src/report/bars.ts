import type { Look } from "./terminal.js";
import { formatLoss, formatShare } from "./units.js";

/**
 * One bar: a label, a share from 0 to 1, and what stands behind the bar: the first of `notes` that leaves room for it.
 */
export interface Bar {
  readonly label: string;
  readonly share: number;
  /** From the longest to the shortest; the same number for every bar of a picture. */
  readonly notes: readonly string[];
  readonly tone?: "plain" | "good" | "bad";
}

/** The result of one evaluation. `accuracy` is null where there are no choices. */
export interface Score {
  readonly accuracy: number | null;
  readonly loss: number;
}

const MAX_BAR = 50;
const MIN_BAR = 8;

/** Horizontal bars on one scale from 0 to 1, one line each, never wider than `look.width`. */
export function renderBars(bars: readonly Bar[], look: Look): string[] {
  const labelWidth = widest(bars.map((bar) => bar.label));
  const forms = Math.max(0, ...bars.map((bar) => bar.notes.length));
  for (let form = 0; form < forms; form++) {
    const notes = bars.map((bar) => bar.notes[form] ?? "");
    const size = Math.min(MAX_BAR, look.width - labelWidth - widest(notes) - 4);
    if (size < MIN_BAR) continue;
    return bars.map((bar, i) =>
      (
        `${bar.label.padEnd(labelWidth)}  ` +
        `${paint(drawBar(bar.share, size, look.unicode), bar.tone ?? "plain", look.color)}  ${notes[i] ?? ""}`
      ).trimEnd(),
    );
  }
  // Too narrow for a bar that says anything: the numbers alone.
  return bars.map((bar) =>
    firstThatFits(
      bar.notes.map((note) => `${bar.label.padEnd(labelWidth)} ${note}`),
      look.width,
    ),
  );
}

/**
 * `size` characters: full up to `share`, then empty. A share above 0 always shows, and one below 1 never looks full.
 */
export function drawBar(share: number, size: number, unicode: boolean): string {
  const clean = Number.isFinite(share) ? Math.min(1, Math.max(0, share)) : 0;
  let filled = Math.round(clean * size);
  if (clean < 1) filled = Math.min(size - 1, filled);
  if (clean > 0) filled = Math.max(1, filled);
  return (unicode ? "█" : "#").repeat(filled) + (unicode ? "░" : ".").repeat(size - filled);
}

/** Accuracy (or, without choices, the loss alone) before and after training, as a person takes it in at a glance. */
export function renderComparison(title: string, before: Score, after: Score, look: Look): string[] {
  const head = firstThatFits([title], look.width);
  const change = `${signed(after.loss - before.loss, 4)} loss`;
  if (before.accuracy === null || after.accuracy === null) {
    return [
      head,
      ...[`  before  loss ${formatLoss(before.loss)}`, `  after   loss ${formatLoss(after.loss)}`, `  ${change}`].map(
        (line) => firstThatFits([line], look.width),
      ),
    ];
  }
  const gain = after.accuracy - before.accuracy;
  const notes = (score: Score) => {
    const share = formatShare(score.accuracy).padStart(7);
    return [`${share}  loss ${formatLoss(score.loss)}`, share];
  };
  const bars: Bar[] = [
    { label: "  before", share: before.accuracy, notes: notes(before) },
    {
      label: "  after",
      share: after.accuracy,
      notes: notes(after),
      tone: gain > 0 ? "good" : gain < 0 ? "bad" : "plain",
    },
  ];
  const points = `  ${signed(gain * 100, 1)} points`;
  return [head, ...renderBars(bars, look), firstThatFits([`${points} of accuracy, ${change}`, points], look.width)];
}

function widest(texts: readonly string[]): number {
  return Math.max(0, ...texts.map((text) => text.length));
}

/** A number that is cut in two would lie, so whole forms are tried first. */
function firstThatFits(forms: readonly string[], width: number): string {
  return (
    forms.find((form) => form.length <= width) ?? (forms[forms.length - 1] ?? "").slice(0, Math.max(width, 1)).trimEnd()
  );
}

function signed(value: number, digits: number): string {
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return `±${text}`;
  return `${value < 0 ? "-" : "+"}${text}`;
}

function paint(text: string, tone: "plain" | "good" | "bad", color: boolean): string {
  if (!color) return text;
  const code = tone === "good" ? "32" : tone === "bad" ? "31" : "36";
  return `\u001b[${code}m${text}\u001b[0m`;
}
