// SPDX-License-Identifier: Apache-2.0
/** A configuration that cannot be used; the message begins with where the administrator wrote it. */
export class ConfigError extends Error {
  override name = 'ConfigError';
  /** The file and line that were read. */
  readonly file: string;
  readonly line: number;

  /** @param source "file:line" of what was written, when that is not the file that was read. */
  constructor(place: { file: string; line: number; source?: string }, reason: string) {
    super(`${place.source ?? `${place.file}:${place.line}`}: ${reason}`);
    this.file = place.file;
    this.line = place.line;
  }

  /** One error that says all of them, a line each. At least one is given. */
  static all(errors: readonly ConfigError[]): ConfigError {
    const [first, ...more] = errors;
    if (first === undefined) throw new TypeError('no error');
    const all = new ConfigError(first, '');
    all.message = [first, ...more].map(({ message }) => message).join('\n');
    return all;
  }
}
