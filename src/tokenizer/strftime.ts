import { at } from "../base/at.js";
const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];

/**
 * `date`, in local time, as Python's `strftime` writes it in the C locale. A directive that it does not have stays as
 * it is.
 */
export function strftime(date: Date, format: string): string {
  return format.replace(/%(-?)([A-Za-z%])/g, (whole, bare: string, directive: string) => {
    const text = directiveText(date, directive);
    if (text === undefined) return whole;
    return bare === "" ? text : text.replace(/^0+(?=\d)/, "");
  });
}

function directiveText(date: Date, directive: string): string | undefined {
  const two = (value: number) => String(value).padStart(2, "0");
  const day = at(DAYS, date.getDay());
  const month = at(MONTHS, date.getMonth());
  switch (directive) {
    case "Y":
      return String(date.getFullYear());
    case "y":
      return two(date.getFullYear() % 100);
    case "m":
      return two(date.getMonth() + 1);
    case "d":
      return two(date.getDate());
    case "H":
      return two(date.getHours());
    case "I":
      return two(date.getHours() % 12 || 12);
    case "M":
      return two(date.getMinutes());
    case "S":
      return two(date.getSeconds());
    case "p":
      return date.getHours() < 12 ? "AM" : "PM";
    case "A":
      return day;
    case "a":
      return day.slice(0, 3);
    case "B":
      return month;
    case "b":
      return month.slice(0, 3);
    case "%":
      return "%";
    default:
      return undefined;
  }
}
