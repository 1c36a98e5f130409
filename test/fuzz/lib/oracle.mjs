/** What every target demands of the code under test. */

/** The code under test did what it must not do. */
export class Violation extends Error {
  name = "Violation";
}

export function demand(condition, message) {
  if (!condition) throw new Violation(typeof message === "function" ? message() : message);
}

/**
 * The value of `work()`, or the code and message with which it was refused. Any other failure is a violation.
 * @param {(value: unknown) => boolean} isZo2Error
 * @param {readonly string[]} codes those that can be right
 * @param {number} inputBytes
 * @returns {Promise<{value: T} | {code: string, message: string}>}
 * @template T
 */
export async function attempt(isZo2Error, codes, inputBytes, work) {
  try {
    return { value: await work() };
  } catch (error) {
    if (error instanceof Violation) throw error;
    if (!isZo2Error(error))
      throw new Violation(`not an error with a code: ${error?.stack ?? String(error)}`, { cause: error });
    demand(codes.includes(error.code), () => `the code ${error.code} does not fit: ${error.stack}`);
    demand(error.message.length > 0, `${error.code} without a message`);
    demand(
      error.message.length <= 4096 + 8 * inputBytes,
      () => `${error.code}: a message of ${error.message.length} characters`,
    );
    return { code: error.code, message: error.message };
  }
}
