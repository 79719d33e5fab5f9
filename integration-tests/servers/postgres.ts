// SPDX-License-Identifier: Apache-2.0
// PostgreSQL as Debian has it: a cluster of one test file in a private directory, at a Unix socket only.

import { type ChildProcess, spawn } from 'node:child_process';
import {
  chownSync,
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import pg from 'pg';
import type { Test } from 'tap';
import { root } from './checkout.ts';
import { eventually, patienceMs } from './eventually.ts';
import { isRunning, signal } from './processes.ts';
import { isRoot, uidOf } from './site.ts';
import { run } from './usher.ts';

const superuser = 'usher';

/** Whom the server runs as, which refuses to be root: as the programs behind root's web servers. */
const owner = isRoot ? { uid: uidOf('www-data'), gid: uidOf('www-data') } : {};

/** Where Debian puts the programs of the newest version. */
function binaries(): string {
  const directory = '/usr/lib/postgresql';
  let versions: string[] = [];
  try {
    versions = readdirSync(directory).sort((a, b) => Number(a) - Number(b));
  } catch {
    // there is none
  }
  const newest = versions.at(-1);
  if (newest === undefined) throw new Error('there is no PostgreSQL; `npm run setup` installs it');
  return `${directory}/${newest}/bin`;
}

const schema = readFileSync(`${root}/examples/databases/schema.sql`, 'utf8');

/** One that answers; it ends with the test. */
export class Postgres {
  /** Its socket and its files. */
  readonly dir: string;
  #process: ChildProcess | null = null;
  #databases = 0;

  private constructor(dir: string) {
    this.dir = dir;
  }

  static async start(t: Test): Promise<Postgres> {
    const dir = mkdtempSync('/tmp/usher-postgres-');
    if (owner.uid !== undefined) chownSync(dir, owner.uid, owner.gid);
    const postgres = new Postgres(dir);
    t.teardown(async () => {
      await postgres.stop();
      rmSync(dir, { recursive: true, force: true });
    });
    const how = ['--auth=trust', '--encoding=UTF8', '--locale=C', '--no-sync'];
    const command = [`${binaries()}/initdb`, ...how, `--username=${superuser}`, `${dir}/data`];
    const { status, output } = await run(command, owner);
    if (status !== 0) throw new Error(`initdb ended with ${status}: ${output}`);
    await postgres.begin();
    return postgres;
  }

  /** Resolves when it answers. */
  async begin(): Promise<void> {
    const log = openSync(`${this.dir}/log`, 'a');
    const settings = ['listen_addresses=', `unix_socket_directories=${this.dir}`, 'fsync=off'];
    const command = ['postgres', '-D', `${this.dir}/data`, ...settings.flatMap((s) => ['-c', s])];
    // Also when the test is killed, it ends.
    const child = spawn(
      'setpriv',
      ['--pdeathsig=INT', `${binaries()}/${command[0]}`, ...command.slice(1)],
      {
        stdio: ['ignore', log, log],
        cwd: this.dir,
        env: { LC_ALL: 'C' },
        ...owner,
      },
    );
    closeSync(log);
    this.#process = child;
    await eventually('PostgreSQL answers', async () => {
      const { exitCode } = child;
      if (exitCode !== null) throw new Error(readFileSync(`${this.dir}/log`, 'utf8').slice(-2000));
      const client = await this.#connect('postgres');
      await client.end();
      return true;
    });
  }

  /** As an administrator does it: connections are ended, transactions rolled back. */
  async stop(): Promise<void> {
    const child = this.#process;
    const pid = child?.pid;
    if (child === null || pid === undefined || !isRunning(pid)) return;
    signal(pid, 'SIGINT');
    await eventually('the end of PostgreSQL', () => child.exitCode !== null || child.signalCode);
  }

  /** One with the tables of examples/databases/, and with nothing in them. */
  async database(): Promise<Database> {
    const name = `test_${++this.#databases}`;
    const client = await this.#connect('postgres');
    await client.query(`CREATE DATABASE ${name}`);
    await client.end();
    const database = new Database(this, name, () => this.#connect(name));
    await database.query(schema);
    return database;
  }

  async #connect(database: string): Promise<pg.Client> {
    const client = new pg.Client({
      host: this.dir,
      user: superuser,
      database,
      application_name: 'test',
      connectionTimeoutMillis: patienceMs,
      statement_timeout: patienceMs,
    });
    client.on('error', () => undefined); // it is restarted
    await client.connect();
    return client;
  }
}

export interface Session {
  pid: number;
  /** "active", "idle", "idle in transaction" … */
  state: string;
  /** "Lock": it waits for another one. */
  wait_event_type: string | null;
}

export class Database {
  /** What programs need to know of it. */
  readonly env: Record<string, string>;
  readonly #connect: () => Promise<pg.Client>;

  constructor({ dir }: Postgres, name: string, connect: () => Promise<pg.Client>) {
    this.env = { PGHOST: dir, PGUSER: superuser, PGDATABASE: name, DATABASE_WAIT_MS: '60000' };
    this.#connect = connect;
  }

  async query<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]> {
    const client = await this.#connect();
    try {
      return (await client.query<Row>(text, values)).rows;
    } finally {
      await client.end();
    }
  }

  /** Connections to it, all but those of the test. */
  sessions(): Promise<Session[]> {
    return this.query<Session>(
      `SELECT pid, state, wait_event_type FROM pg_stat_activity
       WHERE datname = current_database() AND application_name <> 'test' ORDER BY pid`,
    );
  }

  /** Waits until there are so many connections. */
  async connections(count: number): Promise<number[]> {
    return eventually(`${count} connections`, async () => {
      const sessions = await this.sessions();
      if (sessions.length === count) return sessions.map(({ pid }) => pid);
      throw new Error(JSON.stringify(sessions));
    });
  }

  /** Waits until so many connections wait for a lock. */
  async blocked(count: number): Promise<number[]> {
    return eventually(`${count} connections wait for a lock`, async () => {
      const sessions = await this.sessions();
      const blocked = sessions.filter(({ wait_event_type: type }) => type === 'Lock');
      if (blocked.length === count) return blocked.map(({ pid }) => pid);
      throw new Error(JSON.stringify(sessions));
    });
  }

  /** Ends a connection, as seen by its client: the server's process is gone. */
  async terminate(pid: number): Promise<void> {
    await this.query('SELECT pg_terminate_backend($1, 60000)', [pid]);
  }

  /** Keeps all rows of a table from others, while `action` goes on. */
  async locked<Result>(table: string, action: () => Promise<Result>): Promise<Result> {
    const client = await this.#connect();
    try {
      await client.query(`BEGIN; SELECT FROM ${table} FOR UPDATE`);
      return await action();
    } finally {
      await client.end();
    }
  }
}
