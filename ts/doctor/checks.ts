// SPDX-License-Identifier: Apache-2.0
// All checks, in the order of the manual (docs/doctor.md).
import type { Check } from './check.ts';
import { classChecks } from './checks/classes.ts';
import { installationChecks } from './checks/installation.ts';
import { limitChecks } from './checks/limits.ts';
import { managerChecks } from './checks/manager.ts';
import { runtimeDirectoryChecks } from './checks/runtime-directory.ts';
import { securityChecks } from './checks/security.ts';
import { webServerChecks } from './checks/web-servers.ts';

export const checks: readonly Check[] = [
  ...installationChecks,
  ...webServerChecks,
  ...runtimeDirectoryChecks,
  ...managerChecks,
  ...classChecks,
  ...limitChecks,
  ...securityChecks,
];
