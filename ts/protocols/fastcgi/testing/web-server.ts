// SPDX-License-Identifier: Apache-2.0
// The web server's side for tests, made from the specification and not with the encoder beside it.

/** One record. */
export function record(type: number, id: number, content: Uint8Array, padding = 0): Buffer {
  const length = content.length;
  const header = [1, type, id >> 8, id & 255, length >> 8, length & 255, padding, 0];
  return Buffer.concat([Uint8Array.from(header), content, new Uint8Array(padding).fill(0xee)]);
}

const none = new Uint8Array(0);

/** @param role 1 responder, 2 authorizer, 3 filter. @param flags 1 keeps the connection. */
export function begin(id: number, role = 1, flags = 1): Buffer {
  return record(1, id, Uint8Array.from([role >> 8, role & 255, flags, 0, 0, 0, 0, 0]));
}

export const abort = (id: number): Buffer => record(2, id, none);

export function pairs(values: Iterable<readonly [name: string, value: string]>): Buffer {
  const length = (text: string) =>
    text.length < 128
      ? [text.length]
      : [
          128 + Math.floor(text.length / 2 ** 24),
          (text.length >> 16) & 255,
          (text.length >> 8) & 255,
          text.length & 255,
        ];
  const parts = [...values].flatMap(([name, value]) => [
    Uint8Array.from([...length(name), ...length(value)]),
    Buffer.from(name, 'latin1'),
    Buffer.from(value, 'latin1'),
  ]);
  return Buffer.concat(parts);
}

/** A stream of records of at most `recordBytes`, with its end. */
export function stream(type: number, id: number, bytes: Uint8Array, recordBytes = 65535): Buffer {
  const records: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += recordBytes) {
    const content = bytes.subarray(at, at + recordBytes);
    records.push(record(type, id, content, (8 - (content.length % 8)) % 8));
  }
  return Buffer.concat([...records, record(type, id, none)]);
}

export const params = (id: number, values: Record<string, string>, recordBytes?: number): Buffer =>
  stream(4, id, pairs(Object.entries(values)), recordBytes);

export const stdin = (id: number, body: string | Uint8Array = '', recordBytes?: number): Buffer =>
  stream(5, id, Buffer.from(body), recordBytes);

export function request(
  id: number,
  values: Record<string, string>,
  body: string | Uint8Array = '',
): Buffer {
  return Buffer.concat([begin(id), params(id, values), stdin(id, body)]);
}
