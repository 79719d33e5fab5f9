// SPDX-License-Identifier: Apache-2.0
// Four charts of the last hour. They share a cursor: where it stands in one, the others tell theirs.
import type uPlotType from 'uplot';
import type { LoadHistory } from '../../control/messages.ts';
import { el } from './dom.ts';
import { showShort } from './format.ts';

declare const uPlot: typeof uPlotType;

const HEIGHT = 150;
const HOUR_S = 3600;

interface Chart {
  name: keyof Pick<LoadHistory, 'requests' | 'inFlight' | 'waiting' | 'instances'>;
  title: string;
  /** Of a number in the read-out. */
  unit: string;
  color: string;
  isStepped: boolean;
}

const charts: readonly Chart[] = [
  { name: 'requests', title: 'Requests', unit: '/s', color: 'requests', isStepped: false },
  { name: 'inFlight', title: 'Load: in flight', unit: '', color: 'in-flight', isStepped: false },
  { name: 'waiting', title: 'Waiting', unit: '', color: 'waiting', isStepped: false },
  { name: 'instances', title: 'Instances ready', unit: '', color: 'instances', isStepped: true },
];

type Series = (number | null)[];

interface Drawn {
  chart: Chart;
  plot: uPlotType;
  output: HTMLOutputElement;
}

export class Charts {
  #place: HTMLElement;
  #drawn: Drawn[] = [];
  #history: LoadHistory | null = null;

  constructor(place: HTMLElement) {
    this.#place = place;
    const redraw = () => this.#begin();
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
    new ResizeObserver(() => this.#resize()).observe(place);
  }

  show(history: LoadHistory): void {
    this.#history = history;
    if (this.#drawn.length === 0) this.#begin();
    for (const { chart, plot } of this.#drawn) plot.setData(dataOf(chart, history));
    this.#tell(null);
  }

  #begin(): void {
    for (const { plot } of this.#drawn) plot.destroy();
    if (this.#history === null) return;
    const history = this.#history;
    this.#place.replaceChildren();
    this.#drawn = charts.map((chart) => this.#draw(chart, history));
    this.#tell(null);
  }

  #draw(chart: Chart, history: LoadHistory): Drawn {
    const output = el('output') as HTMLOutputElement;
    const place = el('div', { class: 'plot', 'data-chart': chart.name });
    this.#place.append(el('div', { class: 'chart' }, el('h3', {}, chart.title, output), place));
    const plot = new uPlot(
      optionsOf(
        chart,
        place.clientWidth,
        () => Date.parse(this.#history?.until ?? '') / 1000,
        (index) => this.#tell(index),
      ),
      dataOf(chart, history),
      place,
    );
    return { chart, plot, output };
  }

  #resize(): void {
    for (const { plot } of this.#drawn) {
      const width = plot.root.parentElement?.clientWidth ?? 0;
      if (width > 0 && width !== plot.width) plot.setSize({ width, height: HEIGHT });
    }
  }

  /** @param index Of the sample at the cursor; null = the last one. */
  #tell(index: number | null): void {
    for (const { chart, plot, output } of this.#drawn) {
      const values = plot.data[1] as Series;
      const at = index ?? values.length - 1;
      const value = values[at];
      const time = plot.data[0][at];
      const when = index === null || time === undefined ? 'now' : clock(time);
      const told = value === undefined || value === null ? '–' : showShort(value) + chart.unit;
      const text = `${told} ${when}`;
      if (output.textContent !== text) output.textContent = text;
    }
  }
}

function dataOf({ name }: Chart, history: LoadHistory): uPlotType.AlignedData {
  const { intervalMs, until } = history;
  const values = name === 'requests' ? perSecond(history) : history[name];
  const endS = Date.parse(until) / 1000;
  const times = values.map((_, i) => endS - ((values.length - 1 - i) * intervalMs) / 1000);
  return [times, values];
}

function perSecond({ requests, intervalMs }: LoadHistory): Series {
  return requests.map((count) => (count === null ? null : (count * 1000) / intervalMs));
}

function clock(timeS: number): string {
  return `at ${new Date(timeS * 1000).toLocaleTimeString('en-GB')}`;
}

function colorOf(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function optionsOf(
  chart: Chart,
  width: number,
  untilS: () => number,
  onCursor: (index: number | null) => void,
): uPlotType.Options {
  const color = colorOf(`--chart-${chart.color}`);
  const axis: uPlotType.Axis = {
    stroke: colorOf('--quiet'),
    font: '11px system-ui, sans-serif',
    grid: { stroke: colorOf('--line'), width: 1 },
    ticks: { show: false },
  };
  const stepped = uPlot.paths.stepped?.({ align: 1 });
  return {
    width: Math.max(width, 100),
    height: HEIGHT,
    padding: [8, 8, 0, 0],
    legend: { show: false },
    cursor: { y: false, sync: { key: 'hour' }, drag: { x: false, y: false } },
    scales: {
      x: { range: () => [untilS() - HOUR_S, untilS()] },
      y: { range: (_, _min, max) => [0, Math.max(1, Math.ceil((max ?? 0) * 1.15))] },
    },
    axes: [
      {
        ...axis,
        size: 26,
        grid: { show: false },
        values: (_, times) =>
          times.map((s) => new Date(s * 1000).toLocaleTimeString('en-GB').slice(0, 5)),
      },
      {
        ...axis,
        size: 44,
        space: 32,
        incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6],
        values: (_, values) => values.map(showShort),
      },
    ],
    series: [
      {},
      {
        stroke: color,
        fill: `${color}26`,
        width: 2,
        points: { show: false },
        ...(chart.isStepped && stepped ? { paths: stepped } : {}),
      },
    ],
    hooks: { setCursor: [({ cursor }) => onCursor(cursor.idx ?? null)] },
  };
}
