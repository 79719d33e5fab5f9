// SPDX-License-Identifier: Apache-2.0
// What an ELF program needs to be loaded: machine, loader and libraries. Read, never run, unlike ldd.

export interface Elf {
  /** e_machine; 62 = x86-64. */
  machine: number;
  /** null = it needs none. */
  loader: string | null;
  libraries: string[];
  /** DT_RUNPATH, else DT_RPATH; with $ORIGIN as it stands. */
  paths: string[];
}

export type Read = (offset: number, length: number) => Buffer;

interface Part {
  type: number;
  offset: number;
  address: number;
  bytes: number;
}

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const mostParts = 256;
const mostBytes = 1024 * 1024;

/** null = it is no ELF file, or a damaged one. */
export function readElf(read: Read): Elf | null {
  const head = read(0, 64);
  if (head.length < 52 || head.toString('latin1', 0, 4) !== '\x7fELF') return null;
  try {
    return readParts(read, head, new Words(head[4] === 2, head[5] !== 2));
  } catch (error) {
    if (error instanceof RangeError) return null; // it ends too early
    throw error;
  }
}

/** Numbers as class and byte order of the file say. */
class Words {
  readonly is64: boolean;
  readonly isLittle: boolean;

  constructor(is64: boolean, isLittle: boolean) {
    this.is64 = is64;
    this.isLittle = isLittle;
  }

  half(bytes: Buffer, at: number): number {
    return this.isLittle ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at);
  }

  word(bytes: Buffer, at: number): number {
    return this.isLittle ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at);
  }

  /** An address or a length. */
  long(bytes: Buffer, at: number): number {
    if (!this.is64) return this.word(bytes, at);
    return Number(this.isLittle ? bytes.readBigUInt64LE(at) : bytes.readBigUInt64BE(at));
  }
}

function readParts(read: Read, head: Buffer, words: Words): Elf {
  const machine = words.half(head, 18);
  const [at, size, count] = words.is64
    ? [words.long(head, 32), words.half(head, 54), words.half(head, 56)]
    : [words.long(head, 28), words.half(head, 42), words.half(head, 44)];
  const table = read(at, size * Math.min(count, mostParts));
  const parts = Array.from({ length: Math.min(count, mostParts) }, (_, i): Part => {
    const begin = i * size;
    return words.is64
      ? {
          type: words.word(table, begin),
          offset: words.long(table, begin + 8),
          address: words.long(table, begin + 16),
          bytes: words.long(table, begin + 32),
        }
      : {
          type: words.word(table, begin),
          offset: words.long(table, begin + 4),
          address: words.long(table, begin + 8),
          bytes: words.long(table, begin + 16),
        };
  });
  const loader = parts.find(({ type }) => type === PT_INTERP);
  const dynamic = parts.find(({ type }) => type === PT_DYNAMIC);
  return {
    machine,
    loader:
      loader === undefined ? null : text(read(loader.offset, Math.min(loader.bytes, 4096)), 0),
    ...(dynamic === undefined ? { libraries: [], paths: [] } : needs(read, words, parts, dynamic)),
  };
}

const DT_NEEDED = 1;
const DT_STRTAB = 5;
const DT_STRSZ = 10;
const DT_RPATH = 15;
const DT_RUNPATH = 29;

function needs(
  read: Read,
  words: Words,
  parts: readonly Part[],
  dynamic: Part,
): Pick<Elf, 'libraries' | 'paths'> {
  const size = words.is64 ? 8 : 4;
  const bytes = read(dynamic.offset, Math.min(dynamic.bytes, mostBytes));
  const entries: [tag: number, value: number][] = [];
  for (let at = 0; at + 2 * size <= bytes.length; at += 2 * size) {
    const tag = words.long(bytes, at);
    if (tag === 0) break;
    entries.push([tag, words.long(bytes, at + size)]);
  }
  const value = (wanted: number): number | undefined =>
    entries.find(([tag]) => tag === wanted)?.[1];
  const address = value(DT_STRTAB) ?? 0;
  const home = parts.find(
    (part) =>
      part.type === PT_LOAD && address >= part.address && address < part.address + part.bytes,
  );
  if (home === undefined) return { libraries: [], paths: [] };
  const length = Math.min(value(DT_STRSZ) ?? 0, mostBytes);
  const strings = read(address - home.address + home.offset, length);
  const path = value(DT_RUNPATH) ?? value(DT_RPATH);
  return {
    libraries: entries.flatMap(([tag, at]) => (tag === DT_NEEDED ? [text(strings, at)] : [])),
    paths: path === undefined ? [] : text(strings, path).split(':'),
  };
}

function text(bytes: Buffer, at: number): string {
  const end = bytes.indexOf(0, at);
  return bytes.toString('utf8', at, end === -1 ? bytes.length : end);
}

const cacheMagic = 'glibc-ld.so.cache1.1';

/** Paths by name, of /etc/ld.so.cache; none when it is of another format. */
export function readLoaderCache(cache: Buffer): Map<string, string> {
  const found = new Map<string, string>();
  const begin = cache.indexOf(cacheMagic, 0, 'latin1');
  if (begin === -1 || cache.length < begin + 48) return found;
  const count = Math.min(cache.readUInt32LE(begin + 20), 100_000);
  for (let i = 0; i < count; i++) {
    const at = begin + 48 + i * 24;
    if (at + 24 > cache.length) break;
    const name = text(cache, begin + cache.readUInt32LE(at + 4));
    const path = text(cache, begin + cache.readUInt32LE(at + 8));
    if (!found.has(name)) found.set(name, path);
  }
  return found;
}
