// SPDX-License-Identifier: Apache-2.0
// Why a request is answered by the gateway and not by a backend. Not an Error: while all backends are
// away there is one for each request, and nobody reads where in our code it was made.

export class Failure {
  readonly status: number;
  /** One line for the web server's error log. */
  readonly message: string;
  /** It is for now only: a backend's engine is being started. */
  readonly isPassing: boolean;

  constructor(status: number, message: string, isPassing = false) {
    this.status = status;
    this.message = message;
    this.isPassing = isPassing;
  }
}
