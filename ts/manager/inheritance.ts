// SPDX-License-Identifier: Apache-2.0
// What a former manager left: instances and sockets that the launcher kept, records in the table.
// Each goes on as it was; what nobody owns any more is ended.
import { type Channel, type EndpointInfo, native, type Ref } from '../native/native.ts';
import type { Exit, KeptEndpoint, KeptInstance, Launcher, Welcome } from '../process/launcher.ts';
import { runHash } from './class-config.ts';
import type { Endpoint, Instance } from './instance.ts';
import { beginJourney } from './journeys.ts';
import type { Leftovers } from './leftovers.ts';
import type { ManagedClass } from './managed-class.ts';
import type { OomKills } from './out-of-memory.ts';
import { maskerOf } from './secrets.ts';
import { newInstanceMarks } from './starter.ts';
import { parseTag, type Tag } from './tag.ts';

/** The class that an instance or a socket belongs to now; null = to none. */
export type OwnerOf = (tag: Tag) => ManagedClass | null;

interface Kept {
  endpoint: KeptEndpoint;
  /** null = a public socket: its shares were removed, each instance gets one again. */
  info: EndpointInfo | null;
}

export class Inheritance {
  #channel: Channel;
  #launcher: Launcher;
  #welcome: Welcome;
  #leftovers: Leftovers;
  #oomKills: OomKills;
  /** Records of the table that kept sockets belong to, by label. */
  #classes = new Map<string, Ref>();

  /** Removes the records that nothing kept belongs to. @param oomKills Until now. */
  constructor(
    channel: Channel,
    launcher: Launcher,
    welcome: Welcome,
    leftovers: Leftovers,
    oomKills: OomKills,
  ) {
    this.#channel = channel;
    this.#oomKills = oomKills;
    this.#leftovers = leftovers;
    this.#launcher = launcher;
    this.#welcome = welcome;
    const names = new Set(welcome.endpoints.map((one) => one.name));
    const classes = new Map(channel.classes().map((info) => [info.ref.index, info]));
    const living = new Set<number>();
    for (const endpoint of welcome.endpoints) {
      const tag = parseTag(endpoint.tag);
      const info = tag && classes.get(tag.index);
      if (!tag || !info || info.ref.generation !== tag.generation) continue;
      living.add(tag.index);
      this.#classes.set(tag.label, info.ref);
    }
    for (const { address, classRef, ref } of channel.endpoints()) {
      const isKept = address.kind === 'serverSocket' && names.has(address.name);
      if (!isKept || !living.has(classRef.index)) channel.removeEndpoint(ref);
    }
    for (const info of classes.values()) {
      if (!living.has(info.ref.index)) channel.removeClass(info.ref);
    }
  }

  /** The record of a class in the table; once. */
  take(label: string): Ref | undefined {
    const ref = this.#classes.get(label);
    this.#classes.delete(label);
    return ref;
  }

  /** Give everything to its owner. */
  handOver(ownerOf: OwnerOf): void {
    const kept = this.#keptById(ownerOf);
    const exited: { owner: ManagedClass; id: number; exit: Exit }[] = [];
    const used = new Set<number>();
    for (const instance of this.#welcome.instances) {
      if (instance.isService) {
        exited.push(...this.#adoptEngine(instance, ownerOf));
        continue;
      }
      const socket = kept.get(instance.endpointId);
      const tag = parseTag(instance.tag);
      const owner = tag && ownerOf(tag);
      const isShared = socket !== undefined && socket.info === null;
      const isTaken = used.has(instance.endpointId) && !isShared && instance.exit !== null;
      if (!socket || !owner || isTaken) {
        if (instance.exit) this.#launcher.forget(instance.id);
        else this.#leftovers.end(instance.id, native.nowMs());
        continue;
      }
      used.add(instance.endpointId);
      this.#adopt(owner, tag, instance, socket);
      if (instance.exit) exited.push({ owner, id: instance.id, exit: instance.exit });
    }
    for (const { endpoint, info } of kept.values()) {
      if (used.has(endpoint.id)) continue;
      const tag = parseTag(endpoint.tag);
      const owner = tag && ownerOf(tag);
      if (owner && info) owner.resume(endpointOf(endpoint, info));
      else if (info || !owner) this.#close(endpoint, info);
    }
    // Now that every class knows all it has.
    for (const { owner, id, exit } of exited) owner.onExited(id, exit);
    this.#removeClasses();
  }

  #keptById(ownerOf: OwnerOf): Map<number, Kept> {
    const published = new Map(
      this.#channel
        .endpoints()
        .map((info) => [info.address.kind === 'serverSocket' ? info.address.name : '', info]),
    );
    const kept = new Map<number, Kept>();
    for (const endpoint of this.#welcome.endpoints) {
      const info = published.get(endpoint.name);
      const tag = parseTag(endpoint.tag);
      const isPublic = tag !== null && ownerOf(tag)?.adoptSocket(endpoint) === true;
      if (info) kept.set(endpoint.id, { endpoint, info });
      else if (isPublic) kept.set(endpoint.id, { endpoint, info: null });
      else this.#close(endpoint, null);
    }
    return kept;
  }

  #adopt(owner: ManagedClass, tag: Tag, instance: KeptInstance, { endpoint, info }: Kept): void {
    const { config } = owner;
    const journey = beginJourney(config, maskerOf(config.env, config.secretEnv), tag.start);
    journey.pid = instance.pid;
    const wasReady = instance.state !== 'starting';
    if (wasReady) journey.outcome = 'ready';
    // One that ended while it was being stopped needs no successor.
    const isLeaving = info?.state === 'draining';
    const current = wasReady ? 'ready' : 'starting';
    const state = isLeaving ? (instance.exit ? 'stopping' : 'draining') : current;
    const at = info ? endpointOf(endpoint, info) : owner.shareSocket(endpoint);
    const isLinked = config.gateway === null || instance.linkFd !== null;
    const isOfToday = tag.run === runHash(config) && isLinked;
    const agoMs = native.nowMs() - instance.startedMs;
    journey.startedAt = new Date(Date.now() - agoMs).toISOString();
    const adopted: Instance = {
      ...at,
      id: instance.id,
      revision: owner.revisionOf({ ...tag, isOfToday }),
      pid: instance.pid,
      state,
      startedAtMs: instance.startedMs,
      startedAt: journey.startedAt,
      journey,
      beganMs: instance.startedMs,
      oomKills: this.#oomKills,
      servedBefore: 0,
      ...newInstanceMarks(),
      hasAnswered: true,
      wasReady,
      worn: endpoint.isDetached ? 'listens on a socket that a former launcher took with it' : '',
    };
    owner.adopt(adopted, instance.linkFd);
    this.#channel.setEndpoint(at.ref, isLeaving ? 'draining' : current, instance.pid);
  }

  /** @returns Itself, when it has ended meanwhile. */
  #adoptEngine(kept: KeptInstance, ownerOf: OwnerOf) {
    const { id, pid, startedMs, exit } = kept;
    const tag = parseTag(kept.tag);
    const owner = tag && ownerOf(tag);
    const facts = { id, pid, startedMs, hash: tag?.run ?? '', epoch: tag?.epoch ?? 0 };
    if (!owner?.adoptEngine(tag?.engine ?? '', facts)) {
      if (exit) this.#launcher.forget(id);
      else this.#leftovers.end(id, native.nowMs());
      return [];
    }
    return exit ? [{ owner, id, exit }] : [];
  }

  #close(endpoint: KeptEndpoint, info: EndpointInfo | null): void {
    if (info) this.#channel.removeEndpoint(info.ref);
    void this.#launcher.closeEndpoint(endpoint.id).catch(() => undefined);
  }

  /** Classes that nobody configures any more: their instances were ended above. */
  #removeClasses(): void {
    for (const ref of this.#classes.values()) {
      for (const info of this.#channel.endpoints()) {
        if (info.classRef.index === ref.index) this.#channel.removeEndpoint(info.ref);
      }
      this.#channel.removeClass(ref);
    }
    this.#classes.clear();
  }
}

function endpointOf(kept: KeptEndpoint, info: EndpointInfo): Endpoint {
  return {
    endpointId: kept.id,
    inode: kept.inode,
    ref: info.ref,
    linked: new Set(kept.servers),
    isShared: false,
    isDetached: kept.isDetached,
  };
}
