// SPDX-License-Identifier: Apache-2.0
export { CgiHeadError } from './cgi-head-error.ts';
export { cgiEnvironment, type EnvironmentOptions } from './environment.ts';
export { CgiHeadDecoder } from './head-decoder.ts';
export { searchWords } from './search-words.ts';
export type { CgiHead, CgiHeadLimits, Field } from './types.ts';
