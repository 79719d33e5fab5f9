// SPDX-License-Identifier: Apache-2.0
// What a browser is shown of a start that failed, where the class has -show-errors: one file of HTML,
// without scripts and without anything from elsewhere.
import type { Journey, JourneyStep } from '../control/messages.ts';

/** As the shims read it (USHER_PAGE_MAX). */
export const PAGE_BYTES_MAX = 32_768;

const style = `
:root { color-scheme: light dark; --edge: #8884; --weak: #8882; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; } }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; } h2 { font-size: 1rem; margin: 1.75rem 0 .5rem; }
p { margin: .5rem 0; overflow-wrap: anywhere; } .what { color: var(--bad); font-weight: 600; }
.hint { border-left: .25rem solid var(--edge); padding: .25rem .75rem; background: var(--weak); }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-top: 1px solid var(--edge); overflow-wrap: anywhere; }
th { font-weight: 600; white-space: nowrap; } td.n { text-align: right; white-space: nowrap; }
pre { margin: 0; padding: .75rem; border: 1px solid var(--edge); border-radius: .25rem; background: var(--weak); white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem; }
.failed td { color: var(--bad); } footer { margin-top: 2rem; font-size: .85rem; opacity: .8; }
`.trim();

/** As much of it as the shims take: of a long one the environment is left out, then output. */
export function errorPage(journey: Journey): string {
  const { setting, output } = journey;
  const shorter: Journey[] = [
    journey,
    { ...journey, setting: setting && { ...setting, environment: [] } },
    { ...journey, setting: null, output: output.slice(-1024), steps: journey.steps.slice(-16) },
  ];
  const pages = shorter.map(pageOf);
  return pages.find((page) => Buffer.byteLength(page) <= PAGE_BYTES_MAX) ?? '';
}

function pageOf(journey: Journey): string {
  const { id, class: name, explanation, hint, command, setting, steps, output } = journey;
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${escapeHtml(lastPart(name))} cannot be started</title>
<style>
${style}
</style>
</head>
<body>
<main>
<h1>${escapeHtml(name)} cannot be started</h1>
<p class="what">${escapeHtml(explanation)}</p>
${hint === '' ? '' : `<p class="hint">${escapeHtml(hint)}</p>`}
<h2>What it printed last</h2>
${output.trim() === '' ? '<p>Nothing.</p>' : `<pre>${escapeHtml(output.trimEnd())}</pre>`}
<h2>Steps of this start</h2>
<table>
<thead><tr><th>Step</th><th>After</th><th>What came of it</th></tr></thead>
<tbody>
${steps.map(stepRow).join('\n')}
</tbody>
</table>
<h2>How it was started</h2>
<table>
<tbody>
${rows([
  ['Command', command],
  ['User', setting && `${setting.user}, group ${setting.group}`],
  ['Directory', setting?.cwd ?? null],
  ['Limits', setting?.limits.join(', ') ?? null],
  ['Environment', setting?.environment.join('\n') ?? null],
])}
</tbody>
</table>
</main>
<footer>Start <code>${escapeHtml(id)}</code> at ${escapeHtml(journey.startedAt)}. More: <code>usher explain ${escapeHtml(id)}</code>.
This page is shown because the class has <code>-show-errors</code>, which is for development.</footer>
</body>
</html>
`;
}

function stepRow({ name, ms, did, error }: JourneyStep): string {
  const what = error === undefined ? (did ?? '') : `failed: ${error}`;
  const cells = `<td>${escapeHtml(name)}</td><td class="n">${ms} ms</td><td>${escapeHtml(what)}</td>`;
  return `<tr${error === undefined ? '' : ' class="failed"'}>${cells}</tr>`;
}

function rows(entries: readonly (readonly [label: string, text: string | null])[]): string {
  return entries
    .filter(([, text]) => text !== null && text !== '')
    .map(([label, text]) => {
      const lines = escapeHtml(text ?? '').replaceAll('\n', '<br>');
      return `<tr><th scope="row">${label}</th><td>${lines}</td></tr>`;
    })
    .join('\n');
}

function lastPart(name: string): string {
  return name.slice(name.lastIndexOf('/') + 1) || name;
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** For text and quoted attributes; control characters, which HTML may not hold, become signs. */
function escapeHtml(text: string): string {
  const safe = text.replace(/[&<>"']/g, (sign) => entities[sign] ?? sign).replace(/\r\n?/g, '\n');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is replaced
  return safe.replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, '\ufffd');
}
