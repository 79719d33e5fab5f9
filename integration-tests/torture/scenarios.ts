// SPDX-License-Identifier: Apache-2.0
// All scenarios, in the order in which they are run.

import { engineScenarios } from './engine-scenarios.ts';
import { hostileScenarios } from './hostile-scenario.ts';
import { instanceScenarios } from './instance-scenarios.ts';
import { queueScenarios } from './queue-scenarios.ts';
import type { Scenario } from './scenario.ts';
import { serverScenarios } from './server-scenarios.ts';
import { usherScenarios } from './usher-scenarios.ts';

export const scenarios: readonly Scenario[] = [
  ...serverScenarios,
  ...usherScenarios,
  ...instanceScenarios,
  ...engineScenarios,
  ...queueScenarios,
  ...hostileScenarios,
];
