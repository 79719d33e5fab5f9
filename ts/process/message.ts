// SPDX-License-Identifier: Apache-2.0
// The packets between launcher and manager (native/launcher/protocol.h): verb and fields, each
// ended by NUL.

export interface Message {
  verb: string;
  /** Values by name, in order; a repeated name is a list. */
  fields: ReadonlyMap<string, readonly string[]>;
}

export type FieldValue = string | number | readonly string[] | undefined;

/** Longest packet in bytes (USHER_MESSAGE_MAX). */
export const MESSAGE_MAX_BYTES = 131072;

/** Throws a RangeError when a value holds NUL or the packet is longer than MESSAGE_MAX_BYTES. */
export function encodeMessage(verb: string, fields: Readonly<Record<string, FieldValue>>): Buffer {
  let text = `${verb}\0`;
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) {
      const string = String(one);
      if (string.includes('\0')) throw new RangeError(`${verb}: ${name} holds a NUL byte`);
      text += `${name}=${string}\0`;
    }
  }
  const packet = Buffer.from(text, 'utf8');
  if (packet.length > MESSAGE_MAX_BYTES) {
    throw new RangeError(
      `${verb}: arguments and environment take ${packet.length} bytes, at most ${MESSAGE_MAX_BYTES} are allowed`,
    );
  }
  return packet;
}

/** Throws a RangeError on a packet without a verb, without its last NUL, or with a field without '='. */
export function decodeMessage(packet: Buffer): Message {
  const parts = packet.toString('utf8').split('\0');
  if (parts.pop() !== '') throw new RangeError('launcher packet does not end with NUL');
  const verb = parts.shift();
  if (!verb) throw new RangeError('launcher packet without a verb');
  const fields = new Map<string, string[]>();
  for (const part of parts) {
    const at = part.indexOf('=');
    if (at < 1) throw new RangeError(`launcher packet "${verb}": field without a name`);
    const name = part.slice(0, at);
    const values = fields.get(name);
    if (values) values.push(part.slice(at + 1));
    else fields.set(name, [part.slice(at + 1)]);
  }
  return { verb, fields };
}

export function textOf(message: Message, name: string): string {
  return message.fields.get(name)?.[0] ?? '';
}

/** 0 when the field is missing or no number. */
export function numberOf(message: Message, name: string): number {
  const number = Number(message.fields.get(name)?.[0]);
  return Number.isFinite(number) ? number : 0;
}

export function listOf(message: Message, name: string): readonly string[] {
  return message.fields.get(name) ?? [];
}
