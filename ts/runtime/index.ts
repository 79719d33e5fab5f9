// SPDX-License-Identifier: Apache-2.0
// usher/runtime: one program, any protocol, any execution model.
export { background } from './background.ts';
export { metadataOf } from './handlers/request-metadata.ts';
export type { Handler } from './handlers/servlet-of.ts';
export type { Handlers } from './handlers/servlets.ts';
export type { ProtocolName, RequestMetadata, TlsMetadata } from './metadata.ts';
export type {
  Hooks,
  ListenOptions,
  ListenProtocol,
  ModelName,
  Served,
  ServeOptions,
} from './options.ts';
export { serve } from './serve.ts';
export { sharedMemory } from './shared-memory.ts';
