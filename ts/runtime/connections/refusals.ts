// SPDX-License-Identifier: Apache-2.0
import { STATUS_CODES } from 'node:http';
import type { ProtocolError } from '../../protocols/protocol-error.ts';
import type { Refusal } from '../exchange.ts';

/** A request that cannot be served for what it says itself. */
export function refusalOf({ status, message }: ProtocolError): Refusal {
  return { status, reason: STATUS_CODES[status] ?? 'Refused', log: `request refused: ${message}` };
}
