// SPDX-License-Identifier: Apache-2.0
// The policies by the name that -policy gives them.
import { adaptive } from './adaptive.ts';
import { classic } from './classic.ts';
import type { Policy, PolicyName } from './policy.ts';

export const policies: Readonly<Record<PolicyName, Policy>> = {
  adaptive: adaptive as Policy,
  classic: classic as Policy,
};
