// SPDX-License-Identifier: Apache-2.0
// Waiting in a line before c places, all taken or not: Erlang's formula (M/M/c).

/**
 * The fewest places with which a request waits for `targetMs` at the most, on average.
 * @param load Requests in service on average: arrivals a ms × service time.
 * @param serviceMs Of one request. @param limit No more places than this are looked at.
 */
export function placesFor(
  load: number,
  serviceMs: number,
  targetMs: number,
  limit: number,
): number {
  if (load >= limit) return limit;
  let blocked = 1;
  for (let places = 1; places < limit; places += 1) {
    blocked = nextBlocked(blocked, load, places);
    if (places <= load) continue;
    const waitMs = (mustWait(blocked, load, places) * serviceMs) / (places - load);
    if (waitMs <= targetMs) return places;
  }
  return limit;
}

/**
 * How many may wait at once without it being a surprise: longer lines come more seldom than
 * `surpriseRate`. Where more requests come than can be served no line is one.
 * @param arrivalRate A ms. @param surpriseRate A ms.
 */
export function ordinaryLine(
  arrivalRate: number,
  serviceMs: number,
  places: number,
  surpriseRate: number,
): number {
  const load = arrivalRate * serviceMs;
  if (places <= load) return Number.POSITIVE_INFINITY;
  if (load <= 0) return 0;
  let blocked = 1;
  for (let one = 1; one <= places; one += 1) blocked = nextBlocked(blocked, load, one);
  // With all places taken the line is longer than n with the chance (load ÷ places)^(n + 1); once it
  // is, it stays so for about as long as one request more than come takes to be served.
  const lastsMs = serviceMs / (places - load);
  const chance = (surpriseRate * lastsMs) / mustWait(blocked, load, places);
  return Math.max(0, Math.log(chance) / Math.log(load / places) - 1);
}

/** Erlang's B by its recursion: the chance that all places are taken when nobody may wait. */
function nextBlocked(blocked: number, load: number, places: number): number {
  return (load * blocked) / (places + load * blocked);
}

/** Erlang's C. */
function mustWait(blocked: number, load: number, places: number): number {
  return (places * blocked) / (places - load * (1 - blocked));
}
