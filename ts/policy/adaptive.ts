// SPDX-License-Identifier: Apache-2.0
// The default policy, first form: cover what is in flight and waiting now, grow at once, shrink
// slowly, go to the minimum after -idle-stop.
import type { ClassFacts, Decision, Policy } from './policy.ts';

interface Memory {
  readonly peak: number;
  readonly peakAtMs: number;
}

/** How long the class keeps the instances of its last peak, and then how fast it gives them up. */
const HOLD_MS = 10_000;
const SHRINK_STEP_MS = 1_000;

export const adaptive: Policy<Memory> = {
  name: 'adaptive',
  initial: (instances, nowMs) => ({ peak: instances, peakAtMs: nowMs }),
  decide(facts: ClassFacts, memory: Memory, nowMs: number): Decision<Memory> {
    const demand = facts.inFlight + facts.waiting;
    const needed = Math.ceil(demand / facts.concurrency);
    const existing = facts.ready + facts.starting;

    // A cold class gets one instance, another after each -startDelay: the first may just be slow
    // to boot, or it may hang.
    if (facts.ready === 0 && demand > 0) {
      const paced = 1 + Math.floor(facts.coldForMs / facts.startDelayMs);
      const wanted = clamp(Math.min(needed, Math.max(paced, facts.starting)), facts);
      return { wanted, memory: { peak: wanted, peakAtMs: nowMs } };
    }

    if (demand === 0 && facts.idleStopMs > 0 && facts.idleForMs >= facts.idleStopMs) {
      return { wanted: facts.min, memory: { peak: 0, peakAtMs: nowMs } };
    }

    // The last instance stays until -idle-stop; nothing is started for nobody.
    const floor = Math.min(existing, 1);
    const wish = Math.max(needed, floor);
    const next = decay(memory, wish, nowMs);
    return { wanted: clamp(Math.max(wish, Math.min(next.peak, existing)), facts), memory: next };
  },
};

function decay(memory: Memory, wish: number, nowMs: number): Memory {
  if (wish >= memory.peak) return { peak: wish, peakAtMs: nowMs };
  if (nowMs - memory.peakAtMs < HOLD_MS) return memory;
  return { peak: memory.peak - 1, peakAtMs: nowMs - HOLD_MS + SHRINK_STEP_MS };
}

function clamp(wanted: number, facts: ClassFacts): number {
  return Math.max(facts.min, Math.min(facts.max, wanted));
}
