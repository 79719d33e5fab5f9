// SPDX-License-Identifier: Apache-2.0
// Joins everything: servers' registrations → classes → instances → table. One pass per ring of the
// doorbell, at least ten a second; all state changes happen in passes and in launcher events.
import { existsSync, readFileSync } from 'node:fs';
import { parseDialect, type Registration } from '../config/dialect.ts';
import type { ClassAsked, ClassChanged, Status, Stopping } from '../control/messages.ts';
import { ControlError, type ControlHandlers } from '../control/server.ts';
import { type Channel, native } from '../native/native.ts';
import type { Exit, Launcher, LauncherEvents, Welcome } from '../process/launcher.ts';
import { type ClassConfig, fingerprint, runHash } from './class-config.ts';
import type { ClassContext } from './context.ts';
import { desiredClasses } from './desired.ts';
import { resolveDynamic } from './dynamic.ts';
import { ExternalClass } from './external-class.ts';
import { Inheritance } from './inheritance.ts';
import type { Log } from './log.ts';
import { ManagedClass } from './managed-class.ts';
import { DynamicPool } from './pool.ts';
import { Refusals } from './refusals.ts';
import type { Revision } from './revision.ts';
import { newestOf, type Server, Servers } from './servers.ts';
import type { Tag } from './tag.ts';

/** Look whether workers live at most this often. */
const SETTLE_MS = 200;
/** A dynamic class without instances and requests is forgotten after this. */
const FORGET_MS = 600_000;
/** Requests get this long to end when classes are stopped while servers live. */
const STOP_DRAIN_MS = 5_000;
/** An embedded manager waits this long for the server that started it. */
const FIRST_SERVER_MS = 15_000;

type AnyClass = ManagedClass | ExternalClass;

export interface ManagerParts {
  channel: Channel;
  launcher: Launcher;
  welcome: Welcome;
  log: Log;
  version: string;
}

export class Manager implements ControlHandlers {
  #channel: Channel;
  #launcher: Launcher;
  #welcome: Welcome;
  #log: Log;
  #version: string;
  #startedAt = new Date().toISOString();
  #startedMs = native.nowMs();
  #servers: Servers;
  #own: Registration | null = null;
  #classes = new Map<string, AnyClass>();
  /** Who asked for a dynamic class first. */
  #askers = new Map<string, string>();
  #owners = new Map<number, ManagedClass>();
  #refusals: Refusals;
  #pool = new DynamicPool(() => this.#dynamicClasses(), native.nowMs);
  #inheritance: Inheritance | null = null;
  #context: ClassContext;
  #nextId: number;
  #settledMs = 0;
  #forgotMs = 0;
  #stopping: { remove: boolean } | null = null;
  #lastLook: 'no' | 'asked' = 'no';

  constructor(parts: ManagerParts) {
    this.#channel = parts.channel;
    this.#launcher = parts.launcher;
    this.#welcome = parts.welcome;
    this.#log = parts.log;
    this.#version = parts.version;
    this.#nextId = parts.welcome.nextId;
    this.#servers = new Servers(parts.channel, parts.welcome.runtimeDir, parts.log);
    this.#refusals = new Refusals(parts.channel);
    this.#context = {
      channel: parts.channel,
      launcher: parts.launcher,
      log: parts.log,
      now: native.nowMs,
      acceptQueue: native.acceptQueue,
      connections: native.connections,
      nextId: () => this.#nextId++,
      own: (id, owner) => this.#owners.set(id, owner),
      disown: (id) => this.#owners.delete(id),
      serversOf: (asker) => (asker.server ? [asker.server] : [...this.#servers.byName.keys()]),
      tagOf: (asker, revision) => this.#tagOf(asker, revision),
      poolFacts: (asker) => this.#pool.facts(asker),
      admitDynamic: (asker) => this.#pool.admit(asker),
      spareDynamic: (asker) => this.#pool.spare(asker),
    };
  }

  /** Take over what a former manager left, read the configuration, begin. Throws a ConfigError
   * when usher.conf is wrong. */
  start(): void {
    const now = native.nowMs();
    const { config } = this.#welcome;
    if (config !== null) this.#own = parseDialect(readFileSync(config, 'utf8'), config, native);
    this.#inheritance = new Inheritance(this.#channel, this.#launcher, this.#welcome);
    this.#servers.scan(now);
    this.#sync();
    this.#inheritance.handOver((tag) => this.#ownerOfTag(tag));
    this.#launcher.subscribe(this.#events());
    this.#channel.setManagerState('running', process.pid);
    this.#channel.beat();
    this.#channel.listen(100, () => this.#pass());
    this.#launcher.ready();
    this.#log('info', 'manager.ready', {
      pid: process.pid,
      version: this.#version,
      runtimeDir: this.#welcome.runtimeDir,
      adopted: this.#owners.size,
    });
    this.#pass();
  }

  ping(): { pid: number; version: string } {
    return { pid: process.pid, version: this.#version };
  }

  status(): Status {
    return {
      schema: 1,
      manager: { pid: process.pid, version: this.#version, startedAt: this.#startedAt },
      servers: this.#servers.status(),
      classes: [...this.#classes.values()].map((one) => one.status()),
    };
  }

  stop(request: { force: boolean }): Stopping {
    const instances = this.#owners.size;
    this.#beginStop('asked by usher stop', request.force ? 0 : STOP_DRAIN_MS);
    return { pid: process.pid, instances };
  }

  restart(request: ClassAsked): Promise<ClassChanged> {
    return this.#change(request, 'restart');
  }

  retry(request: ClassAsked): Promise<ClassChanged> {
    return this.#change(request, 'retry');
  }

  async #change(
    { class: name, wait }: ClassAsked,
    what: 'restart' | 'retry',
  ): Promise<ClassChanged> {
    const classes = this.#classesNamed(name);
    const before = new Set(classes.flatMap(pidsOf));
    const changes = Promise.allSettled(classes.map((one) => one[what]()));
    const results = wait ? await changes : [];
    const failed = results.find((result) => result.status === 'rejected');
    if (failed) throw new ControlError(409, `${what}-failed`, messageOf(failed.reason));
    const pids = classes.flatMap(pidsOf);
    return { class: name, pids, replaced: [...before].filter((pid) => !pids.includes(pid)) };
  }

  /** One class, or those of all servers that configure the name differently. */
  #classesNamed(name: string): ManagedClass[] {
    const all = [...this.#classes.values()].filter((one) => !one.isRetiring);
    const exact = all.filter((one) => one.label === name);
    const found = exact.length > 0 ? exact : all.filter((one) => one.config.key === name);
    if (found.length === 0) {
      const known = all.map((one) => one.label).join(', ') || 'none';
      throw new ControlError(404, 'no-such-class', `there is no class "${name}"; known: ${known}`);
    }
    const managed = found.filter((one) => one instanceof ManagedClass);
    if (managed.length > 0) return managed;
    throw new ControlError(409, 'external', `class "${name}" is external: nothing of it runs here`);
  }

  #pass(): void {
    const now = native.nowMs();
    this.#channel.beat();
    this.#launcher.flush();
    const scanned = this.#servers.scan(now);
    if (scanned === 'gone') this.#beginStop('the runtime directory was removed', 0);
    let changed = scanned === 'changed';
    if (now - this.#settledMs >= SETTLE_MS) {
      this.#settledMs = now;
      changed = this.#servers.settle(now) || changed;
    }
    if (changed && !this.#stopping) this.#sync();
    const indices = new Set(this.#channel.changed());
    if (!this.#stopping) this.#answerStartRequests(now);
    for (const one of this.#classes.values()) one.pass(indices.has(one.ref.index));
    this.#refusals.expire(now);
    this.#removeGone();
    this.#finishIfDone(now);
  }

  // ---- configured classes

  /** Make the classes fit what the servers ask for now. */
  #sync(): void {
    const desired = desiredClasses(this.#servers.byName.values(), this.#own);
    for (const { key, sources } of desired.disagreements) {
      this.#log('warn', 'class.disagreement', {
        class: key,
        text: `${key} has different options at ${sources.join(' and ')}: each server gets its own`,
      });
    }
    for (const [label, { server, config }] of desired.classes) {
      const known = this.#classes.get(label);
      if (known?.isRetiring) continue; // made again when the old one is gone
      if (!known) this.#create(label, server, config);
      else if (fingerprint(known.config) !== fingerprint(config)) known.reconfigure(config);
    }
    for (const [label, one] of this.#classes) {
      if (one.isRetiring || desired.classes.has(label)) continue;
      if (one.config.kind === 'dynamic' && this.#mayStay(one)) continue;
      this.#retire(one, Number.POSITIVE_INFINITY);
    }
    this.#linkServers();
  }

  #create(label: string, server: string | null, config: ClassConfig): AnyClass | null {
    this.#refusals.clear(config.key, server);
    try {
      const ref =
        this.#inheritance?.take(label) ??
        this.#channel.addClass(config.kind, config.key, server, config.limits);
      this.#channel.setLimits(ref, config.limits);
      const created =
        config.kind === 'external'
          ? new ExternalClass(this.#channel, this.#log, label, server, config, ref)
          : new ManagedClass(this.#context, label, server, config, ref);
      this.#classes.set(label, created);
      return created;
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      this.#log('error', 'class.not-created', { class: label, source: config.source, text });
      return null;
    }
  }

  #retire(one: AnyClass, drainMs: number): void {
    this.#log('info', 'class.removed', { class: one.label });
    // Requests that come now wait until the record is gone, and then look the key up again.
    this.#channel.setClass(one.ref, 'cold', 0, 0, '');
    one.retire(drainMs);
  }

  #removeGone(): void {
    let removed = false;
    for (const [label, one] of this.#classes) {
      if (!one.isGone) continue;
      this.#channel.removeClass(one.ref);
      this.#classes.delete(label);
      this.#askers.delete(label);
      removed = true;
    }
    if (removed && !this.#stopping) this.#sync();
  }

  /** Workers of a server that came later must reach the instances of shared classes. */
  #linkServers(): void {
    for (const one of this.#classes.values()) {
      if (!(one instanceof ManagedClass) || one.server !== null) continue;
      for (const server of this.#servers.byName.keys()) one.linkServer(server);
    }
  }

  // ---- dynamic classes

  #answerStartRequests(now: number): void {
    for (const server of this.#servers.byName.values()) {
      for (const { entry, key } of this.#channel.startRequests(server.handle)) {
        if (this.#answerStartRequest(server, key, now)) {
          this.#channel.finishStartRequest(server.handle, entry);
        }
      }
    }
  }

  /** False when it must be asked again: a class of that key is just ending. */
  #answerStartRequest(server: Server, key: string, now: number): boolean {
    const known = this.#classes.get(`${key}@${server.name}`) ?? this.#classes.get(key);
    if (known) return !known.isRetiring;
    if (this.#refusals.has(key, server.name)) return true;
    const answer = resolveDynamic(key, newestOf(server));
    if ('refusal' in answer) {
      this.#log('warn', 'class.refused', {
        server: server.name,
        class: key,
        status: answer.refusal.status,
        text: answer.refusal.reason,
      });
      this.#refusals.add(key, server.name, answer.refusal, now);
      return true;
    }
    const shared = this.#agreeOn(key, answer.config);
    const label = shared ? key : `${key}@${server.name}`;
    this.#askers.set(label, server.name);
    const created = this.#create(label, shared ? null : server.name, answer.config);
    if (created instanceof ManagedClass) created.askedFor();
    else this.#askers.delete(label);
    return true;
  }

  /** Would every server run this path the same way? */
  #agreeOn(key: string, config: ClassConfig): boolean {
    const print = fingerprint(config);
    return [...this.#servers.byName.values()].every((server) => {
      const answer = resolveDynamic(key, newestOf(server));
      return 'config' in answer && fingerprint(answer.config) === print;
    });
  }

  /** Is a dynamic class still what its server, or all servers, would run? */
  #mayStay(one: AnyClass): boolean {
    const server = this.#servers.byName.get(this.#askers.get(one.label) ?? '');
    if (one.server === null) return this.#agreeOn(one.config.key, one.config);
    if (!server) return false;
    const answer = resolveDynamic(one.config.key, newestOf(server));
    return 'config' in answer && fingerprint(answer.config) === fingerprint(one.config);
  }

  #dynamicClasses(): ManagedClass[] {
    return [...this.#classes.values()].filter(
      (one): one is ManagedClass => one instanceof ManagedClass && one.config.kind === 'dynamic',
    );
  }

  // ---- a former manager's instances

  #ownerOfTag(tag: Tag): ManagedClass | null {
    const known = this.#classes.get(tag.label);
    if (known) return known instanceof ManagedClass ? known : null;
    const server = this.#servers.byName.get(tag.asker ?? '');
    if (tag.kind !== 'dynamic' || !server) return null;
    const answer = resolveDynamic(tag.key, newestOf(server));
    if ('refusal' in answer) return null;
    const created = this.#create(tag.label, tag.server, answer.config);
    if (!(created instanceof ManagedClass)) return null;
    this.#askers.set(tag.label, server.name);
    return created;
  }

  #tagOf(asker: ManagedClass, revision: Revision): string {
    const tag: Tag = {
      label: asker.label,
      key: asker.config.key,
      kind: asker.config.kind,
      server: asker.server,
      asker: this.#askers.get(asker.label) ?? null,
      index: asker.ref.index,
      generation: asker.ref.generation,
      run: runHash(revision.config),
      epoch: revision.epoch,
      program: revision.program,
    };
    return JSON.stringify(tag);
  }

  // ---- the launcher's events

  #events(): LauncherEvents {
    return {
      onStarted: (id, pid) => this.#owners.get(id)?.onStarted(id, pid),
      onReady: (id) => this.#owners.get(id)?.onReady(id),
      onOutput: (id, text) => this.#owners.get(id)?.onOutput(id, text),
      onExited: (id, exit: Exit) => {
        const owner = this.#owners.get(id);
        if (owner) owner.onExited(id, exit);
        else this.#launcher.forget(id);
      },
      onDropped: (bytes) => this.#log('warn', 'output.dropped', { bytes }),
      onTerminate: () => this.#beginStop('the launcher was asked to terminate', STOP_DRAIN_MS),
      onLastLook: () => this.#onLastLook(),
      onSnapshot: (id, text) => this.#owners.get(id)?.onSnapshot(id, text),
    };
  }

  // ---- the end

  #finishIfDone(now: number): void {
    if (this.#stopping) {
      if (this.#classes.size === 0) this.#quit();
      return;
    }
    if (this.#lastLook !== 'no') return;
    if (now - this.#forgotMs >= FORGET_MS / 100) {
      this.#forgotMs = now;
      for (const one of this.#dynamicClasses()) {
        if (one.instanceCount === 0 && one.idleForMs > FORGET_MS) this.#retire(one, 0);
      }
    }
    const nobodyCame =
      this.#welcome.mode === 'embedded' &&
      this.#servers.byName.size === 0 &&
      now - this.#startedMs > FIRST_SERVER_MS;
    if (this.#servers.gone(now).length > 0 || nobodyCame) {
      this.#lastLook = 'asked';
      this.#launcher.finish();
    }
  }

  /** The runtime directory is ours alone: no server can register between this look and what follows. */
  #onLastLook(): void {
    const now = native.nowMs();
    this.#servers.scan(now);
    this.#servers.settle(now);
    for (const server of this.#servers.gone(now)) this.#servers.remove(server);
    this.#lastLook = 'no';
    if (this.#servers.byName.size === 0 && this.#welcome.mode === 'embedded') {
      this.#stopping = { remove: true };
      this.#log('info', 'manager.stopping', { text: 'the last server is gone' });
      this.#channel.setManagerState('stopped', process.pid);
      for (const one of this.#classes.values()) this.#retire(one, 0);
      return; // the lock is kept until the end
    }
    this.#launcher.resume();
    this.#sync();
  }

  #beginStop(text: string, drainMs: number): void {
    if (this.#stopping) return;
    this.#log('info', 'manager.stopping', { text });
    // Servers that live find this channel again when a manager comes back.
    this.#stopping = { remove: this.#servers.byName.size === 0 || this.#isDirectoryGone() };
    this.#channel.setManagerState('stopped', process.pid);
    for (const one of this.#classes.values()) this.#retire(one, drainMs);
  }

  #isDirectoryGone(): boolean {
    return !existsSync(this.#welcome.runtimeDir);
  }

  #quit(): void {
    if (!this.#stopping) return;
    const { remove } = this.#stopping;
    this.#stopping = null;
    this.#lastLook = 'asked';
    this.#log('info', 'manager.stopped', { removesRuntimeDir: remove });
    this.#launcher.quit(remove);
  }
}

function pidsOf(one: ManagedClass): number[] {
  return one.instances.map(({ pid }) => pid);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
