// SPDX-License-Identifier: Apache-2.0
import { ProtocolError } from '../protocol-error.ts';

const SEEN_BYTES = 80;

/** What a program wrote is no answer. Its status 502 is for the client, the message for the log. */
export class CgiHeadError extends ProtocolError {
  override name = 'CgiHeadError';
  /** Where it was seen, from its beginning: at most 80 bytes, a dot for each that cannot be printed. */
  readonly seen: string;

  /** @param place In front of it, for the message; '' = it says all. */
  constructor(place: string, what: string, text = '') {
    const seen = text.slice(0, SEEN_BYTES).replace(/[^\x20-\x7e]/g, '.');
    const where = `${place}${text === '' ? '' : ` "${seen}"`}`;
    super(where === '' ? what : `${where}: ${what}`, 502);
    this.seen = seen;
  }
}
