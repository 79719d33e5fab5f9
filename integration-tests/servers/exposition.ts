// SPDX-License-Identifier: Apache-2.0
// Reads metrics as a scraper does, but forgives nothing: Prometheus' text format 0.0.4 and OpenMetrics
// 1.0, as far as gauges, counters and histograms go. Throws at the first line that is not right.

export interface Sample {
  name: string;
  labels: Readonly<Record<string, string>>;
  value: number;
}

interface Family {
  name: string;
  type: string;
  help: string;
  samples: Sample[];
}

export type Format = 'prometheus' | 'openmetrics';

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const NUMBER = /^(?:[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]Inf|NaN)$/i;
const NEWLINE = '\n';

export class Exposition {
  readonly families = new Map<string, Family>();

  constructor(text: string, format: Format) {
    for (const line of linesOf(text, format)) this.#read(line, format);
    for (const family of this.families.values()) check(family, format);
  }

  /** Of the one series of that name which has these labels, and maybe others; undefined = none. */
  value(name: string, labels: Readonly<Record<string, string>> = {}): number | undefined {
    const found = this.select(name, labels);
    if (found.length > 1) throw new Error(`${found.length} series of ${name}`);
    return found[0]?.value;
  }

  select(name: string, labels: Readonly<Record<string, string>> = {}): Sample[] {
    return [...this.families.values()]
      .flatMap(({ samples }) => samples)
      .filter((sample) => sample.name === name)
      .filter((sample) => Object.entries(labels).every(([key, is]) => sample.labels[key] === is));
  }

  #current: Family | null = null;

  #read(line: string, format: Format): void {
    if (line === '' && format === 'prometheus') return;
    const comment = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line);
    if (comment) this.#describe(line, comment[1] ?? '', comment[2] ?? '', comment[3] ?? '');
    else this.#add(line, format);
  }

  #describe(line: string, what: string, name: string, said: string): void {
    if (!NAME.test(name)) throw new Error(`no name: ${line}`);
    if (what === 'HELP') {
      if (this.families.has(name)) throw new Error(`a second time: ${line}`);
      if (/\\(?![\\n])/.test(said)) throw new Error(`no such escape: ${line}`);
      this.#current = { name, type: '', help: said, samples: [] };
      this.families.set(name, this.#current);
      return;
    }
    const family = this.families.get(name);
    if (!family || family !== this.#current) throw new Error(`not after its HELP: ${line}`);
    if (family.type !== '') throw new Error(`a second time: ${line}`);
    if (!['counter', 'gauge', 'histogram'].includes(said)) throw new Error(`no type: ${line}`);
    family.type = said;
  }

  #add(line: string, format: Format): void {
    const sample = readSample(line);
    const family = this.#current;
    if (!family || !namesOf(family, format).includes(sample.name)) {
      throw new Error(`not of the family ${family?.name}: ${line}`);
    }
    family.samples.push(sample);
  }
}

function linesOf(text: string, format: Format): string[] {
  if (!text.endsWith(NEWLINE)) throw new Error('the last line has no end');
  const lines = text.slice(0, -1).split(NEWLINE);
  if (format === 'prometheus') return lines;
  if (lines.pop() !== '# EOF') throw new Error('no # EOF');
  return lines;
}

function namesOf({ name, type }: Family, format: Format): string[] {
  if (type === 'histogram') return ['_bucket', '_sum', '_count'].map((end) => name + end);
  return type === 'counter' && format === 'openmetrics' ? [`${name}_total`] : [name];
}

function readSample(line: string): Sample {
  const [name = ''] = /^[^{ ]+/.exec(line) ?? [];
  if (!NAME.test(name)) throw new Error(`no name: ${line}`);
  const labels: Record<string, string> = {};
  let at = name.length;
  if (line[at] === '{') {
    at += 1;
    while (line[at] !== '}') {
      const pair = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,?)/.exec(line.slice(at));
      const [all = '', key = '', value = '', comma = ''] = pair ?? [];
      if (!pair || key in labels) throw new Error(`no label at ${at}: ${line}`);
      labels[key] = value.replace(/\\(.)/g, (_, c: string) => (c === 'n' ? NEWLINE : c));
      at += all.length;
      if (comma === '' && line[at] !== '}') throw new Error(`no comma at ${at}: ${line}`);
    }
    at += 1;
  }
  const value = line.slice(at + 1);
  if (line[at] !== ' ' || !NUMBER.test(value)) throw new Error(`no value: ${line}`);
  return { name, labels, value: toNumber(value) };
}

function toNumber(text: string): number {
  return Number(text.replace(/Inf$/i, 'Infinity'));
}

function check(family: Family, format: Format): void {
  const { name, type, help, samples } = family;
  if (type === '' || help === '') throw new Error(`${name} has no TYPE or no HELP`);
  if (format === 'prometheus' && type === 'counter' && !name.endsWith('_total')) {
    throw new Error(`${name} is a counter and no _total`);
  }
  const seen = new Set<string>();
  for (const sample of samples) {
    const series = `${sample.name}${JSON.stringify(Object.entries(sample.labels).sort())}`;
    if (seen.has(series)) throw new Error(`twice: ${series}`);
    seen.add(series);
    const isCount = type !== 'gauge';
    if (isCount && !(sample.value >= 0 && sample.value < Number.POSITIVE_INFINITY)) {
      throw new Error(`${series} counts ${sample.value}`);
    }
  }
  if (type === 'histogram') checkHistogram(family);
}

function checkHistogram({ name, samples }: Family): void {
  const groups = new Map<string, { bounds: number[]; counts: number[]; sums: number[] }>();
  for (const { name: line, labels, value } of samples) {
    const { le, ...others } = labels;
    const key = JSON.stringify(Object.entries(others).sort());
    const group = groups.get(key) ?? { bounds: [], counts: [], sums: [] };
    groups.set(key, group);
    if (line.endsWith('_bucket')) {
      if (le === undefined || !NUMBER.test(le)) throw new Error(`${line} has no le`);
      group.bounds.push(toNumber(le));
      group.counts.push(value);
    } else group.sums.push(value);
  }
  for (const [key, { bounds, counts, sums }] of groups) {
    const rises = (numbers: number[]) =>
      numbers.every((n, i) => i === 0 || n > (numbers[i - 1] ?? 0));
    const falls = counts.some((n, i) => i > 0 && n < (counts[i - 1] ?? 0));
    if (!rises(bounds) || falls) throw new Error(`${name}${key}: buckets do not rise`);
    if (bounds.at(-1) !== Number.POSITIVE_INFINITY) throw new Error(`${name}${key}: no +Inf`);
    if (sums.length !== 2 || sums[1] !== counts.at(-1)) {
      throw new Error(`${name}${key}: sum or count is wrong`);
    }
  }
}
