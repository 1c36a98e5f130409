/** A pattern over whole names: `*` stands for any run of characters, everything else for itself. */
export function patternOf(pattern: string): RegExp {
  return new RegExp(`^${pattern.split("*").map(literal).join(".*")}$`);
}

function literal(text: string): string {
  return text.replace(/[.+?^${}()|[\]\\]/g, "\\$&");
}
