/** What every page has around what it shows. */
import { timeOf } from "./facts.js";
import { html, Markup } from "./html.js";

export interface Framed {
  /** Its command: by it a page is known from any other HTML. */
  readonly generator: string;
  readonly title: string;
  readonly lead: string;
  /** Stands beside the title. */
  readonly beside?: Markup;
  /** Content-Security-Policy. */
  readonly policy: string;
  readonly style: string;
  /** Of what the style and the scripts contain. */
  readonly licences?: string;
  readonly body: Markup;
  readonly made: Date;
  /** Stands behind the date. */
  readonly credits?: string;
  readonly scripts?: Markup;
}

export function pageOf({ generator, title, lead, beside, policy, style, licences, body, ...o }: Framed): string {
  const { made, credits = "", scripts } = o;
  const comment =
    licences === undefined
      ? null
      : html`<!--
${new Markup(licences)}-->
`;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="${generator}">
<title>${title} - ${generator}</title>
${comment}<style>${new Markup(style)}</style>
</head>
<body>
<header><div><h1>${title}</h1><p class="lead">${lead}</p></div>${beside ?? null}</header>
${body}<footer>Made by ${generator} at ${timeOf(made.toISOString())}.${credits}</footer>
${scripts ?? null}</body>
</html>
`.text;
}
