// SPDX-License-Identifier: Apache-2.0
// The record of one start, as `usher explain` tells it.
import type { Journey, JourneySetting, JourneyStep } from '../../control/messages.ts';
import { el } from './dom.ts';
import { showBytes, showDuration, showTime, showWords } from './format.ts';

export function journeyCard(journey: Journey): HTMLElement {
  const { explanation, hint, cause, output, snapshot, setting } = journey;
  return el(
    'article',
    { class: 'card journey', 'data-key': journey.id },
    el('h3', {}, explanation || 'It is ready.'),
    hint !== '' && el('p', { class: 'notice' }, hint),
    el(
      'p',
      { class: 'quiet small' },
      [
        showTime(journey.startedAt),
        journey.pid !== null && `pid ${journey.pid}`,
        cause !== null && showWords(cause),
        `id ${journey.id}`,
        journey.rssBytes !== undefined && journey.rssBytes > 0 && showBytes(journey.rssBytes),
      ]
        .filter(Boolean)
        .join(' · '),
    ),
    el('p', {}, el('code', {}, journey.command)),
    el('ol', { class: 'steps', 'aria-label': 'Steps of the start' }, ...journey.steps.map(step)),
    output !== '' && unfold('What it printed last', el('pre', { tabindex: '0' }, output), true),
    snapshot !== undefined && unfold('What it was doing', el('pre', { tabindex: '0' }, snapshot)),
    setting !== null && unfold('What it ran as and in', settingList(setting)),
  );
}

function step({ name, ms, did, error }: JourneyStep): HTMLElement {
  return el(
    'li',
    { class: error === undefined ? null : 'is-bad' },
    el('span', {}, name),
    el('span', { class: 'number' }, showDuration(ms)),
    el('span', {}, error ?? did ?? ''),
  );
}

function unfold(title: string, content: HTMLElement, isOpen = false): HTMLElement {
  return el('details', { open: isOpen, 'data-key': title }, el('summary', {}, title), content);
}

function settingList(setting: JourneySetting): HTMLElement {
  const rows: [string, string][] = [
    ['User', setting.user],
    ['Group', [setting.group, ...setting.groups].join(', ')],
    ['Directory', setting.cwd],
    ['Limits', setting.limits.join(', ')],
    ['Environment', setting.environment.join('\n')],
  ];
  return el(
    'dl',
    { class: 'facts' },
    ...rows.flatMap(([name, value]) => [
      el('dt', {}, name),
      el('dd', {}, name === 'Environment' ? el('pre', { tabindex: '0' }, value) : value),
    ]),
  );
}
