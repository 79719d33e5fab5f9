// SPDX-License-Identifier: Apache-2.0
// What was tried and what came of it, for people: printed with USHER_TEST_TRANSCRIPT=1.

export function tellTranscript(lines: readonly string[]): void {
  if (process.env.USHER_TEST_TRANSCRIPT === '1') process.stderr.write(`${lines.join('\n')}\n`);
}
