// SPDX-License-Identifier: Apache-2.0
export { FastcgiDecoder } from './decoder.ts';
export {
  answerInOne,
  answerRecords,
  endRecords,
  endWithoutOutput,
  OUTPUT_RECORDS_BYTES,
  outputInto,
  stderrRecords,
  stdoutHeader,
  stdoutRecords,
} from './encoder.ts';
export { encodePairs } from './pairs.ts';
export { decodeParams, Params, type ParamsOrder } from './params.ts';
export { CONTENT_BYTES_MAX, type ProtocolStatus, protocolStatus } from './records.ts';
export type {
  FastcgiEvents,
  FastcgiLimits,
  FastcgiServer,
  RequestHead,
  Role,
} from './types.ts';
