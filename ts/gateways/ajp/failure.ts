// SPDX-License-Identifier: Apache-2.0
// Why a request is answered by the gateway and not by a backend.

export class Failure extends Error {
  readonly status: number;

  /** @param cause One line for the web server's error log. */
  constructor(status: number, cause: string) {
    super(cause);
    this.name = 'Failure';
    this.status = status;
  }
}
