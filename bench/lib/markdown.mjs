/** A Markdown table; the first `text` columns are aligned to the left, the others to the right. */
export function table(head, rows, text) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map((_, i) => (i < text ? "---" : "---:"))), ...rows.map(line)].join("\n");
}
