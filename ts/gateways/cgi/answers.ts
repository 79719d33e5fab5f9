// SPDX-License-Identifier: Apache-2.0
// Heads of answers as web servers take them from FastCGI applications, and the gateway's own answers.
import { STATUS_CODES } from 'node:http';
import type { CgiHead } from '../../protocols/cgi/index.ts';

/** What a client is told: nothing of paths and causes, which are for the error log. */
const sentences: Readonly<Record<number, string>> = {
  400: 'The request cannot be given to a program.',
  403: 'This program may not be run.',
  404: 'There is no such program.',
  431: 'A part of the request is too long for a program.',
  502: 'The program gave no valid answer.',
  503: 'There is no room for this program now.',
  504: 'The program took too long.',
};

export interface Answer {
  bytes: Buffer;
  /** What the program says its body has; null: it does not. */
  contentLength: number | null;
}

type HeadWithStatus = Exclude<CgiHead, { kind: 'local-redirect' }>;

/** docs/cgi.md says what web servers make of a local redirect. */
export function encodeHead(head: CgiHead): Answer {
  if (head.kind === 'local-redirect') {
    const { location } = head;
    const text = `Location: ${location}\r\nX-Accel-Redirect: ${location}\r\n\r\n`;
    return { bytes: Buffer.from(text, 'latin1'), contentLength: null };
  }
  let text = saysNoStatus(head) ? '' : statusLine(head);
  let contentLength: number | null = null;
  for (const [name, value] of head.fields) {
    text += `${name}: ${value}\r\n`;
    if (name.toLowerCase() === 'content-length') contentLength = Number(value);
  }
  return { bytes: Buffer.from(`${text}\r\n`, 'latin1'), contentLength };
}

/** Apache compares validators with the client's only where the program does not name a status. */
function saysNoStatus({ kind, status, reason, fields }: HeadWithStatus): boolean {
  return kind === 'document' && status === 200 && reason === '' && fields.length > 0;
}

/** Web servers take what follows the number as it is. */
function statusLine({ status, reason }: HeadWithStatus): string {
  const text = `${status} ${reason || STATUS_CODES[status] || ''}`;
  return `Status: ${text.trimEnd()}\r\n`;
}

/** A short answer in place of the program's. */
export function failureAnswer(status: number): Buffer {
  const reason = STATUS_CODES[status] ?? 'Error';
  const body = `${status} ${reason}\n${sentences[status] ?? ''}\n`;
  const retry = status === 503 ? 'Retry-After: 1\r\n' : '';
  return Buffer.from(
    `Status: ${status} ${reason}\r\nContent-Type: text/plain\r\n${retry}` +
      `Content-Length: ${body.length}\r\n\r\n${body}`,
  );
}
