// SPDX-License-Identifier: Apache-2.0
// The numbers of FastCGI 1.0. A record: version, type, request id (2 bytes), bytes of content (2),
// bytes of padding, one reserved byte; then the content, then the padding.

export const VERSION = 1;
export const HEADER_BYTES = 8;
/** Longest content of one record. */
export const CONTENT_BYTES_MAX = 65535;

/** Of records that belong to no request. */
export const MANAGEMENT_ID = 0;

export const recordType = {
  beginRequest: 1,
  abortRequest: 2,
  endRequest: 3,
  params: 4,
  stdin: 5,
  stdout: 6,
  stderr: 7,
  data: 8,
  getValues: 9,
  getValuesResult: 10,
  unknownType: 11,
} as const;

/** Content of a begin and of an end: their fields and what is reserved. */
export const BEGIN_REQUEST_BYTES = 8;
export const END_REQUEST_BYTES = 8;
export const UNKNOWN_TYPE_BYTES = 8;

export const KEEP_CONN = 1;

/** How a request ended, as FCGI_END_REQUEST says it. */
export const protocolStatus = {
  requestComplete: 0,
  /** FCGI_CANT_MPX_CONN: one request at a time on a connection. */
  cantMultiplex: 1,
  overloaded: 2,
  unknownRole: 3,
} as const;

export type ProtocolStatus = (typeof protocolStatus)[keyof typeof protocolStatus];
