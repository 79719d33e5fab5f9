// SPDX-License-Identifier: Apache-2.0
// How an instance begins: its endpoint is bound and published first, then the program is run on it.
// Every step is written into the start's journey.
import type { Journey } from '../control/messages.ts';
import { LauncherError } from '../process/launcher.ts';
import type { FailedStep } from './causes.ts';
import type { ClassContext } from './context.ts';
import { EngineError } from './engines/engines.ts';
import type { Endpoint, Instance } from './instance.ts';
import { addFacts, addStep, beginJourney, failStep } from './journeys.ts';
import type { ManagedClass } from './managed-class.ts';
import type { PublicSockets } from './public-sockets.ts';
import type { Revision } from './revision.ts';
import { maskerOf } from './secrets.ts';

/** What may wait in one instance's socket: as much as the kernel allows (net.core.somaxconn). */
const BACKLOG = 4096;

/** A start that failed before its program ran. */
export interface FailedStart {
  revision: Revision;
  journey: Journey;
  /** Bound already; null when that was what failed. */
  endpoint: Endpoint | null;
}

export class Starter {
  #context: ClassContext;
  #owner: ManagedClass;
  #sockets: PublicSockets;
  #pending = 0;

  constructor(context: ClassContext, owner: ManagedClass, sockets: PublicSockets) {
    this.#context = context;
    this.#owner = owner;
    this.#sockets = sockets;
  }

  /** Starts that have no instance yet. */
  get pending(): number {
    return this.#pending;
  }

  /**
   * @param reused The endpoint of an instance that just ended; null = a new one is bound.
   * @param onInstance Called before its program runs.
   * @param onLink Called when it runs: the manager's end of a gateway's link.
   * @param onFailed Called instead of an event of the launcher.
   */
  async start(
    revision: Revision,
    reused: Endpoint | null,
    onInstance: (instance: Instance) => void,
    onLink: (instance: Instance, linkFd: number | null) => void,
    onFailed: (failed: FailedStart, instance: Instance | null) => void,
  ): Promise<void> {
    const { now } = this.#context;
    const beganMs = now();
    const journey = beginJourney(
      revision.config,
      maskerOf(revision.config.env, revision.config.secretEnv),
    );
    let endpoint = reused;
    let instance: Instance | null = null;
    this.#pending += 1;
    try {
      endpoint ??= await this.#bind(revision);
      addStep(journey, 'endpoint', now() - beganMs, reused ? 'the former one goes on' : 'bound');
      // Requests that come now wait in the socket for an engine that starts.
      await this.#owner.enginesUp();
      instance = this.#instanceOf(revision, endpoint, journey, beganMs);
      this.#pending -= 1;
      onInstance(instance);
      const { linkFd } = await this.#launch(instance);
      onLink(instance, linkFd);
    } catch (error) {
      if (instance === null) this.#pending -= 1;
      if (error instanceof LauncherError) addFacts(journey, error.facts, beganMs);
      const text = error instanceof Error ? error.message : String(error);
      failStep(journey, failedStepOf(error), now() - beganMs, text);
      const told = error instanceof EngineError ? error.tell(journey) : journey;
      onFailed({ revision, journey: told, endpoint }, instance);
    }
  }

  #instanceOf(revision: Revision, endpoint: Endpoint, journey: Journey, beganMs: number): Instance {
    const { channel, now, oomKills } = this.#context;
    const { endpointId, inode, ref, linked, isShared, isDetached } = endpoint;
    return {
      ...{ endpointId, inode, ref, linked, isShared, isDetached },
      id: this.#context.nextId(),
      revision,
      pid: 0,
      state: 'starting',
      startedAtMs: now(),
      startedAt: journey.startedAt,
      journey,
      beganMs,
      oomKills: oomKills(),
      servedBefore: channel.served(ref),
      ...newInstanceMarks(),
    };
  }

  #launch(instance: Instance): Promise<{ linkFd: number | null }> {
    const { args, env, cwd, user, group, nice, startTimeoutMs } = instance.revision.config;
    const { resourceLimits, logFile, allowSetuid, gateway } = instance.revision.config;
    return this.#context.launcher.start(instance.id, {
      endpointId: instance.endpointId,
      tag: this.#context.tagOf(this.#owner, instance.revision, instance.journey),
      gateway: gateway?.name ?? null,
      secretFile: gateway?.secretFile ?? null,
      ...{
        args,
        env,
        cwd,
        user,
        group,
        nice,
        resourceLimits,
        logFile,
        allowSetuid,
        startTimeoutMs,
      },
    });
  }

  async #bind(revision: Revision): Promise<Endpoint> {
    const { channel, launcher, nextId, serversOf, tagOf } = this.#context;
    const shared = await this.#sockets.bind(revision.config, tagOf(this.#owner, revision));
    if (shared) return shared;
    const endpointId = nextId();
    const name = `e${endpointId}`;
    const servers = serversOf(this.#owner);
    const tag = tagOf(this.#owner, revision);
    const inode = await launcher.bind(endpointId, name, tag, BACKLOG, servers);
    try {
      const address = { kind: 'serverSocket', name } as const;
      const { concurrency } = revision.config;
      const ref = channel.addEndpoint(this.#owner.ref, address, concurrency, 'starting', 0);
      return {
        endpointId,
        inode,
        ref,
        linked: new Set(servers),
        isShared: false,
        isDetached: false,
      };
    } catch (error) {
      await launcher.closeEndpoint(endpointId);
      throw error;
    }
  }
}

function failedStepOf(error: unknown): FailedStep {
  if (error instanceof LauncherError) {
    return { step: error.step, errno: error.errno, cause: error.causeWord };
  }
  const step = error instanceof EngineError ? error.step : 'start';
  return { step, errno: 0, cause: '' };
}

/** Of an instance about whose end nothing is decided. */
export function newInstanceMarks() {
  return {
    hasAnswered: false,
    wasReady: false,
    worn: '',
    isHung: false,
    drainDeadlineMs: Number.POSITIVE_INFINITY,
    stopDeadlineMs: Number.POSITIVE_INFINITY,
    harderSignals: [] as number[],
    timedOut: false,
    isLookedAt: false,
    lookAtMs: Number.POSITIVE_INFINITY,
  };
}
