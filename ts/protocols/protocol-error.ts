// SPDX-License-Identifier: Apache-2.0

/** The peer broke the protocol: nothing after this can be understood, the connection is to be closed. */
export class ProtocolError extends Error {
  /** For protocols with requests: the status that tells the peer, 400, 413, 431 …; 0 = none fits. */
  readonly status: number;

  constructor(message: string, status = 0) {
    super(message);
    this.name = 'ProtocolError';
    this.status = status;
  }
}
