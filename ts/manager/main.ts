// SPDX-License-Identifier: Apache-2.0
// usherd: the manager. Started by the launcher with descriptor 3 as its link; not run by hand.
import { closeSync, readFileSync } from 'node:fs';
import { createControlServer } from '../control/server.ts';
import { native } from '../native/native.ts';
import { Launcher } from '../process/launcher.ts';
import { refuseOthers } from './control-peers.ts';
import { isGone } from './gone.ts';
import { createLog } from './log.ts';
import { Manager } from './manager.ts';

const LINK_FD = 3;
/** Tells the launcher that starting again cannot help (EX_CONFIG). */
const EXIT_CONFIG = 78;

const log = createLog();

const { version } = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
) as { version: string };

process.on('uncaughtException', (error) => {
  log('error', 'manager.crashed', { text: error.message, stack: error.stack });
  process.exit(1);
});
// The launcher is asked to stop, not we; a terminal's Ctrl-C reaches the whole group.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);

const { launcher, welcome } = await Launcher.connect(
  (onMessage, onClose) => new native.LauncherLink(LINK_FD, onMessage, onClose),
  () => process.exit(0),
);
if (isGone(welcome.runtimeDir)) {
  log('error', 'manager.stopping', { text: `${welcome.runtimeDir} was removed` });
  launcher.quit(true);
  await new Promise(() => undefined); // until the launcher ends, and we with it
}
const { tableFd, placesFd } = welcome;
const channel = new native.Channel(welcome.runtimeDir, { table: tableFd, places: placesFd });
for (const fd of [tableFd, placesFd]) closeSync(fd);
const manager = new Manager({
  channel,
  launcher,
  welcome,
  log,
  version,
});
try {
  await manager.start();
} catch (error) {
  if (!(error instanceof Error) || error.name !== 'ConfigError') throw error;
  log('error', 'config.invalid', { text: error.message });
  process.exit(EXIT_CONFIG);
}
// Without a handler Node would open its debugger.
process.on('SIGUSR1', () => {
  manager.reopenLogs().catch((error: Error) => {
    log('error', 'log.failed', { text: error.message });
  });
});
if (welcome.controlFd >= 0) {
  const refusal = refuseOthers(welcome);
  createControlServer(manager, { version, refusal }).listen({ fd: welcome.controlFd });
}
