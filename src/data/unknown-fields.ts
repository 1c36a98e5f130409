/** Fields of lines that nothing reads: a misspelt or misplaced one should not pass in silence. */
export class UnknownFields {
  private readonly named = new Set<string>();
  private fresh: { readonly field: string; readonly place: string }[] = [];

  /** @param name of the file or the list, which the warning begins with */
  constructor(private readonly name: string) {}

  /** Notes the fields of a line beside `known`; each name counts once. */
  note(record: Readonly<Record<string, unknown>>, known: readonly string[], place: string): void {
    for (const field of Object.keys(record)) {
      if (known.includes(field) || this.named.has(field)) continue;
      this.named.add(field);
      this.fresh.push({ field, place });
    }
  }

  /** One warning for all names that were noted since the last one. */
  warn(): void {
    const [first] = this.fresh;
    if (first === undefined) return;
    const fields = this.fresh.map(({ field }) => JSON.stringify(field)).join(", ");
    const word = this.fresh.length === 1 ? "field" : "fields";
    this.fresh = [];
    process.emitWarning(`${this.name}: nothing reads the ${word} ${fields} (first in ${first.place})`, "Zo2Warning");
  }
}
