// SPDX-License-Identifier: Apache-2.0
// What install and uninstall tell of what they do.

export interface Step {
  action: 'build' | 'check' | 'create' | 'replace' | 'already' | 'keep' | 'remove' | 'run';
  /** What it is, or what it is for. */
  what: string;
  /** The file, or the command. */
  subject: string;
}

export interface Report {
  version: string;
  prefix: string;
  isDryRun: boolean;
  steps: Step[];
  /** What is left to its administrator, one command or remark each. */
  next: string[];
}

export type Tell = (step: Step) => void;

/** What stops an installation: all faults that were found, before anything was changed unless it says so. */
export class InstallError extends Error {
  override name = 'InstallError';
}

export function isChange({ action }: Step): boolean {
  return action === 'create' || action === 'replace' || action === 'remove' || action === 'run';
}
