/** What a template does wrong: the words of its own `raise_exception`, or those of Python and jinja2. */
export class TemplateError extends Error {
  override name = "TemplateError";
}

/** What cannot be parsed, with the line (from 1). */
export class TemplateSyntaxError extends TemplateError {
  override name = "TemplateSyntaxError";

  constructor(
    readonly line: number,
    message: string,
  ) {
    super(`line ${line}: ${message}`);
  }
}

/** What a template raises itself: its words are the whole message. */
export class RaisedError extends TemplateError {
  override name = "RaisedError";
}

/** Python's TypeError and ValueError, which a few filters answer with a default. */
export class ConversionError extends TemplateError {
  override name = "ConversionError";
}
