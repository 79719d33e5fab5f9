// SPDX-License-Identifier: Apache-2.0
// A property as one test point: tried some times in `npm test`, USHER_PROPERTY_RUNS times by
// `npm run fuzz`. What fails is told with its counterexample, seed and path; USHER_PROPERTY_SEED tries a
// seed again.
import fc from 'fast-check';
import type { Test } from 'tap';

type Property<Values> = fc.IProperty<Values> | fc.IAsyncProperty<Values>;

export async function holds<Values>(
  t: Test,
  property: Property<Values>,
  usually: number,
): Promise<void> {
  const { USHER_PROPERTY_RUNS: wanted, USHER_PROPERTY_SEED: seed } = process.env;
  const result = await fc.check(property as fc.IAsyncProperty<Values>, {
    numRuns: wanted === undefined ? usually : Number(wanted),
    ...(seed === undefined ? {} : { seed: Number(seed) }),
  });
  const report = result.failed ? fc.defaultReportMessage(result) : '';
  t.equal(report, '', `holds for ${result.numRuns} values (seed ${result.seed})`);
}
