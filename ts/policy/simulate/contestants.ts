// SPDX-License-Identifier: Apache-2.0
// The rules that are compared: each as it comes, and with the settings that someone may turn to make
// it dearer or cheaper.
import { type AdaptiveSettings, adaptiveWith, defaults } from '../adaptive.ts';
import { classic } from '../classic.ts';
import { fcgidDefaults, fcgidRules } from './fcgid-rules.ts';
import { classicPool, classicSettings, policyRules } from './policy-rules.ts';
import type { Rules } from './rules.ts';

export interface Variant {
  /** Which settings differ from the defaults. */
  readonly text: string;
  readonly rules: () => Rules;
}

export interface Contestant {
  readonly name: string;
  readonly byDefault: Variant;
  readonly tuned: readonly Variant[];
}

const TARGETS = [0.02, 0.1, 0.4, 1, 2, 6, 12];
const HOLDS = [0.2, 1, 5];

const adaptive: Contestant = {
  name: 'adaptive',
  byDefault: adaptiveVariant(1, 1),
  tuned: TARGETS.flatMap((target) => HOLDS.map((hold) => adaptiveVariant(target, hold))),
};

function adaptiveVariant(target: number, hold: number): Variant {
  const settings: AdaptiveSettings = {
    ...defaults,
    targetMs: defaults.targetMs * target,
    targetShare: defaults.targetShare * target,
    holdMs: defaults.holdMs * hold,
    holdStarts: defaults.holdStarts * hold,
  };
  return {
    text: `target × ${target}, hold × ${hold}`,
    rules: () => policyRules(adaptiveWith(settings)),
  };
}

const classicRules: Contestant = {
  name: 'classic',
  byDefault: classicVariant(classicPool.min, 300, 50, 3),
  tuned: [1, 6, 8, 12].flatMap((min) =>
    [30, 300].flatMap((intervalS) =>
      [50, 80].flatMap((threshold) =>
        [0.3, 3].map((startDelayS) => classicVariant(min, intervalS, threshold, startDelayS)),
      ),
    ),
  ),
};

function classicVariant(
  min: number,
  intervalS: number,
  multiThreshold: number,
  startDelayS: number,
): Variant {
  const intervals = { updateIntervalMs: intervalS * 1000, killIntervalMs: intervalS * 1000 };
  const options = {
    classic: { ...classicSettings, ...intervals, multiThreshold },
    pool: { ...classicPool, min },
    startDelayMs: startDelayS * 1000,
  };
  const text = `min ${min}, intervals ${intervalS} s, multi ${multiThreshold}, delay ${startDelayS} s`;
  return { text, rules: () => policyRules(classic, options) };
}

const fcgid: Contestant = {
  name: 'mod_fcgid',
  byDefault: fcgidVariant(fcgidDefaults.minProcessesPerClass, 100, 300, 10),
  tuned: [1, 8, 12].flatMap((min) =>
    [6, 7, 8, 10, 12, 16, 100].flatMap((max) =>
      (min > max ? [] : [30, 300, 1200]).flatMap((idleS) =>
        [10, 40].map((scoreLimit) => fcgidVariant(min, max, idleS, scoreLimit)),
      ),
    ),
  ),
};

function fcgidVariant(min: number, max: number, idleS: number, scoreLimit: number): Variant {
  const settings = {
    ...fcgidDefaults,
    minProcessesPerClass: min,
    maxProcessesPerClass: max,
    idleTimeoutMs: idleS * 1000,
    // As seldom, measured by the timeout, as by default.
    idleScanIntervalMs: idleS * 400,
    spawnScoreUpLimit: scoreLimit,
  };
  const text = `min ${min}, max ${max}, idle ${idleS} s, score ${scoreLimit}`;
  return { text, rules: () => fcgidRules(settings) };
}

export const contestants: readonly Contestant[] = [adaptive, classicRules, fcgid];
