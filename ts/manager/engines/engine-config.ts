// SPDX-License-Identifier: Apache-2.0
// What a class of protocol ajp or ajp12 says of the servlet engines that are started for it: one for
// each address.
import { createHash } from 'node:crypto';
import { parseAddress } from '../../gateways/ajp/address.ts';
import type { BackendConfig } from '../../gateways/link.ts';
import type { ServiceSpec } from '../../process/launcher.ts';

/** What an engine is started from: another one needs another process. */
export type EngineProgram = Omit<ServiceSpec, 'tag'>;

export interface EnginesConfig {
  protocol: 'ajp' | 'ajp12';
  /** One engine for each; its environment says where it is to listen. */
  backends: readonly BackendConfig[];
  program: EngineProgram;
  /** JServ's: an engine says something first, and hears only who knows the secret. */
  authenticates: boolean;
  /** It must answer so soon after its start. */
  startTimeoutMs: number;
  /** Longest silence, to us and to requests; 0 = it is never ended for that. */
  livenessTimeoutMs: number;
  /** Old sessions are served for so long by an engine that is to be replaced. */
  sessionDrainMs: number;
  stopSignal: number;
  stopTimeoutMs: number;
  maxLifetimeMs: number;
  memoryLimitBytes: number;
}

/** The configured environment, and which engine it is: USHER_ADDRESS, USHER_HOST, USHER_PORT, USHER_ROUTE. */
export function environmentOf(program: EngineProgram, { name, route }: BackendConfig): string[] {
  const address = parseAddress(name);
  const place =
    'host' in address ? [`USHER_HOST=${address.host}`, `USHER_PORT=${address.port}`] : [];
  const session = route === null ? [] : [`USHER_ROUTE=${route}`];
  return [...program.env, `USHER_ADDRESS=${name}`, ...place, ...session];
}

/** Another text needs another process. */
export function hashOf(program: EngineProgram, backend: BackendConfig): string {
  const text = JSON.stringify({ ...program, env: environmentOf(program, backend) });
  return createHash('sha256').update(text).digest('hex').slice(0, 12);
}
