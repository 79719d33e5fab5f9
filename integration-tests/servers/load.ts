// SPDX-License-Identifier: Apache-2.0
// Requests without a pause while something else happens, and what became of them.

import type { Site } from './site.ts';

export interface Outcomes {
  answered: number;
  /** Each answer that was not 200, or the error in place of one. */
  lost: string[];
}

/** Keeps four requests under way until `action` is done; a few are made after it in any case. */
export async function underLoad(
  site: Site,
  path: string,
  action: () => Promise<unknown>,
): Promise<Outcomes> {
  const outcomes: Outcomes = { answered: 0, lost: [] };
  let isOver = false;
  const one = async (): Promise<void> => {
    try {
      const { status, isComplete } = await site.request(path);
      if (status === 200 && isComplete) outcomes.answered += 1;
      else outcomes.lost.push(isComplete ? `status ${status}` : 'broken off');
    } catch (error) {
      outcomes.lost.push((error as Error).message);
    }
  };
  const client = async (): Promise<void> => {
    while (!isOver) await one();
    await one();
  };
  const clients = Array.from({ length: 4 }, client);
  try {
    await action();
  } finally {
    isOver = true;
    await Promise.all(clients);
  }
  return outcomes;
}
