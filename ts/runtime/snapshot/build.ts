// SPDX-License-Identifier: Apache-2.0
// Makes PROGRAM.snapshot and its record: all in a directory of its own beside the program, which is renamed
// into place when a process has started from it, and removed whatever happens.
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname } from 'node:path';
import { cachedDataVersionTag } from 'node:v8';
import { type Bundle, checkProgram, makeBundle } from './bundle.ts';
import { explainFailure } from './explain-failure.ts';
import {
  fileState,
  RECORD_FORMAT,
  readRecord,
  type SnapshotRecord,
  type StoredRecord,
  snapshotPaths,
  whyNotThisNode,
  whyStale,
} from './record.ts';
import { runNode } from './run-node.ts';
import { writeStarter } from './starter.ts';

export interface BuildOptions {
  program: string;
  /** A file that starts the program with its snapshot, for CGI. */
  executable?: string;
  /** Other files whose change makes the snapshot stale. */
  depends?: readonly string[];
  /** V8's options that the program is run with, as "--max-old-space-size=4096". */
  nodeOptions?: readonly string[];
  /** Of the initialisation. */
  timeoutMs?: number;
  /** Not when the one that is there can be used. */
  onlyIfStale?: boolean;
}

export interface Built {
  program: string;
  snapshot: string;
  bytes: number;
  isNew: boolean;
  /** Why there was none that could be used. */
  reason: string | null;
  files: number;
  warnings: string[];
  executable: string | null;
}

const DEFAULT_TIMEOUT_MS = 120_000;

/** @param signal Ends it; all is cleaned up. @throws Error that tells program and place */
export async function buildSnapshot(options: BuildOptions, signal?: AbortSignal): Promise<Built> {
  const { executable = null, nodeOptions = [], depends = [] } = options;
  checkProgram(options.program);
  const program = realpathSync(options.program);
  const paths = snapshotPaths(program);
  const reason = await whyNotUsable(program, nodeOptions);
  const result = { program, snapshot: paths.blob, reason, executable };
  if (reason === null && options.onlyIfStale === true) {
    const record = readRecord(paths.record) as StoredRecord;
    if (executable !== null) writeStarter(executable, record);
    const { bytes } = record.blob;
    return { ...result, bytes, isNew: false, files: record.files.length, warnings: [] };
  }
  sweep(program);
  const directory = mkdtempSync(`${prefixOf(program)}${process.pid}-`);
  try {
    const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const dependencies = depends.map((path) => fileState(realpathSync(path)));
    const bundle = await makeBundle(program);
    const record: SnapshotRecord = {
      ...{ format: RECORD_FORMAT, program, usher: usherVersion() },
      ...{ node: process.version, platform: process.platform, arch: process.arch },
      v8Tag: await tagOf(nodeOptions),
      nodeOptions,
      files: [...bundle.files.filter(({ path }) => !isOurs(path)), ...dependencies],
    };
    const blob = `${directory}/blob`;
    const run = { directory, blob, nodeOptions, program, bundle };
    await writeBlob({ ...run, record, timeoutMs, signal });
    await tryBlob({ ...run, timeoutMs, signal });
    signal?.throwIfAborted();
    rmSync(paths.record, { force: true }); // never a record of another one
    renameSync(blob, paths.blob);
    const stored: StoredRecord = { ...record, blob: fileState(paths.blob) };
    writeFileSync(`${directory}/record`, `${JSON.stringify(stored)}\n`);
    renameSync(`${directory}/record`, paths.record);
    if (executable !== null) writeStarter(executable, stored);
    const { bytes } = stored.blob;
    const { warnings } = bundle;
    return { ...result, bytes, isNew: true, files: record.files.length, warnings };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Null: the snapshot that lies there can be used with these options of Node. */
export async function whyNotUsable(
  program: string,
  nodeOptions: readonly string[] | null = null,
): Promise<string | null> {
  const path = realpathSync(program);
  const paths = snapshotPaths(path);
  try {
    const record = readRecord(paths.record);
    if (record === null) return `${paths.record} does not exist`;
    if (record.program !== path) return `${paths.blob} is of ${record.program}`;
    if (record.usher !== usherVersion()) return `was made by usher ${record.usher}`;
    if (nodeOptions !== null && record.nodeOptions.join(' ') !== nodeOptions.join(' ')) {
      return `was made with other options of Node: ${record.nodeOptions.join(' ') || 'none'}`;
    }
    const v8Tag = await tagOf(record.nodeOptions);
    const reason = record.v8Tag === v8Tag ? null : 'was made by another V8';
    const here = { ...record, v8Tag: cachedDataVersionTag() };
    return whyNotThisNode(here) ?? reason ?? whyStale([record.blob, ...record.files]);
  } catch (error) {
    return (error as Error).message;
  }
}

interface Run {
  directory: string;
  blob: string;
  nodeOptions: readonly string[];
  program: string;
  bundle: Bundle;
  timeoutMs: number;
  signal: AbortSignal | undefined;
}

async function writeBlob(run: Run & { record: SnapshotRecord }): Promise<void> {
  const { directory, blob, nodeOptions, program, bundle, timeoutMs } = run;
  const source = `${directory}/bundle.cjs`;
  writeFileSync(source, bundle.text(run.record, timeoutMs));
  const ended = await runNode(
    [...nodeOptions, '--snapshot-blob', blob, '--build-snapshot', source],
    { directory, timeoutMs: timeoutMs + 5000, signal: run.signal },
  );
  run.signal?.throwIfAborted();
  if (ended.status === 0 && existsSync(blob)) return;
  throw new Error(explainFailure(program, bundle.sourceMap, ended));
}

/** What V8 has written may be what it cannot read. */
async function tryBlob(run: Run): Promise<void> {
  const { directory, blob, nodeOptions, program, bundle, timeoutMs } = run;
  const ended = await runNode([...nodeOptions, '--snapshot-blob', blob, program], {
    ...{ directory, timeoutMs, signal: run.signal },
    env: { USHER_SNAPSHOT_CHECK: '1' },
  });
  run.signal?.throwIfAborted();
  if (ended.status === 0) return;
  throw new Error(
    `${program}: no process starts from its snapshot\n${explainFailure(program, bundle.sourceMap, ended)}`,
  );
}

/** V8's, in a process with these options. */
async function tagOf(nodeOptions: readonly string[]): Promise<number> {
  if (nodeOptions.length === 0 && process.execArgv.length === 0 && !process.env.NODE_OPTIONS) {
    return cachedDataVersionTag();
  }
  const ended = await runNode([...nodeOptions, '-p', 'v8.cachedDataVersionTag()'], {
    timeoutMs: DEFAULT_TIMEOUT_MS,
  });
  const tag = Number.parseInt(ended.out, 10);
  if (ended.status === 0 && !Number.isNaN(tag)) return tag;
  throw new Error(`Node does not take ${nodeOptions.join(' ')}: ${ended.err.trim()}`);
}

/** Ours go with usher's version. */
function isOurs(path: string): boolean {
  return dirname(path) === import.meta.dirname;
}

export function usherVersion(): string {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

function prefixOf(program: string): string {
  return `${dirname(program)}/.${basename(program)}.snapshot-`;
}

/** What builds have left that were killed. */
function sweep(program: string): void {
  const prefix = basename(prefixOf(program));
  for (const name of readdirSync(dirname(program))) {
    const pid = name.startsWith(prefix) ? Number.parseInt(name.slice(prefix.length), 10) : 0;
    if (pid > 0 && !isAlive(pid)) {
      rmSync(`${dirname(program)}/${name}`, { recursive: true, force: true });
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
