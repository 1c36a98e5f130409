/** A number in as few digits as tell it apart: `0.4123`, `12,345`, `2.5e-5`. */
export function number(value: number, digits = 4): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e7) return Number(value.toPrecision(digits)).toExponential().replace("e+", "e");
  return value.toLocaleString("en-US", {
    maximumFractionDigits: Math.max(0, digits - 1 - Math.floor(Math.log10(size))),
  });
}

export function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

export function percent(value: number): string {
  return `${(value * 100).toFixed(1)} %`;
}

/** A tick, in as many digits as tell it from its neighbours, `step` away. */
export function tickText(tick: number, step: number): string {
  if (tick === 0) return "0";
  const size = Math.max(Math.abs(tick), step);
  if (size < 1e-3 || size >= 1e7) return number(tick, 3);
  let digits = 0;
  while (digits < 6 && Math.abs(step * 10 ** digits - Math.round(step * 10 ** digits)) > 1e-6 * step * 10 ** digits)
    digits++;
  return tick.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export function percentTick(tick: number, step: number): string {
  return `${tickText(tick * 100, step * 100)} %`;
}
