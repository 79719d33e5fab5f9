// SPDX-License-Identifier: Apache-2.0
// Runs checks beside each other, each with a deadline.
import { Masker } from '../manager/secrets.ts';
import type { Check } from './check.ts';
import type { FoundOut } from './report.ts';
import type { Scene } from './scene.ts';

/** Of one check; longer than the commands and questions in it may take. */
const deadlineMs = 8000;

/** Tells what each check found as soon as it has ended. */
export async function runChecks(
  checks: readonly Check[],
  scene: Scene,
  tell: (check: Check, found: FoundOut[]) => void,
  withinMs = deadlineMs,
): Promise<void> {
  await Promise.all(
    checks.map(async (check) => {
      const found = await within(withinMs, run(check, scene));
      tell(check, found.map(masked));
    }),
  );
}

/** Servers quote lines of their configuration, and managers what programs printed. */
function masked({ what, why, ...rest }: FoundOut): FoundOut {
  const hidden = new Masker([]);
  const reason = why === undefined ? {} : { why: hidden.text(why) };
  return { ...rest, what: hidden.text(what), ...reason };
}

/** A check that fails of itself says nothing of what it looked at. */
async function run(check: Check, scene: Scene): Promise<FoundOut[]> {
  try {
    return await check.run(scene);
  } catch (error) {
    const why = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    return [{ status: 'skipped', what: 'the check failed', why }];
  }
}

async function within(ms: number, found: Promise<FoundOut[]>): Promise<FoundOut[]> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<FoundOut[]>((resolve) => {
    const text = `it did not end within ${ms / 1000} s`;
    timer = setTimeout(() => resolve([{ status: 'skipped', what: text }]), ms);
  });
  try {
    return await Promise.race([found, late]);
  } finally {
    clearTimeout(timer);
  }
}
