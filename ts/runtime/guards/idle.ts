// SPDX-License-Identifier: Apache-2.0
// Hooks for the seconds in which there is nothing to do.

const IDLE_MS = 1000;

/**
 * Calls `hook` each second in which `isIdle`, never while an earlier call is under way; what it throws goes
 * to `onError`.
 * @returns how to end it
 */
export function whenIdle(
  hook: (() => void | Promise<void>) | undefined,
  isIdle: () => boolean,
  onError: (error: unknown) => void,
): () => void {
  if (hook === undefined) return () => undefined;
  let isRunning = false;
  const timer = setInterval(async () => {
    if (isRunning || !isIdle()) return;
    isRunning = true;
    try {
      await hook();
    } catch (error) {
      onError(error);
    } finally {
      isRunning = false;
    }
  }, IDLE_MS);
  timer.unref();
  return () => clearInterval(timer);
}
