// SPDX-License-Identifier: Apache-2.0
// What a client may ask for, field by field: a request that says anything else is refused, with what is
// wrong and what is allowed. Types are those of messages.ts.
import { z } from 'zod';
import type {
  BackendAsked,
  ClassAsked,
  EventsAsked,
  ExplainAsked,
  GiveBackAsked,
  HistoryAsked,
  LendAsked,
  LogsAsked,
  ScaleAsked,
  StopRequest,
  UpgradeRequest,
} from './messages.ts';

/** Longer than any name or path of a class. */
const TEXT_MAX = 4096;
/** So long may an answer be held back until there is something to say. */
export const WAIT_MS_MAX = 25_000;

export const nothing = body({});

export const stopRequest = body({
  force: flag(false),
}) satisfies z.ZodType<StopRequest>;

export const classAsked = body({
  class: text(),
  wait: flag(true),
}) satisfies z.ZodType<ClassAsked>;

export const scaleAsked = body({
  class: text(),
  instances: z
    .int('must be a whole number, or null')
    .min(1, 'must be 1 or more: with none, requests would wait for ever')
    .nullable(),
  wait: flag(true),
}) satisfies z.ZodType<ScaleAsked>;

export const backendAsked = body({
  class: text(),
  backend: text(),
  activation: z.enum(['active', 'disabled', 'stopped'], 'must be active, disabled or stopped'),
}) satisfies z.ZodType<BackendAsked>;

export const explainAsked = body({
  of: text(),
}) satisfies z.ZodType<ExplainAsked>;

export const upgradeRequest = body({
  layoutVersion: whole(),
}) satisfies z.ZodType<UpgradeRequest>;

export const lendAsked = body({
  class: text(),
  waitMs: z.int('must be a whole number').min(0).max(600_000).default(30_000),
}) satisfies z.ZodType<LendAsked>;

export const giveBackAsked = body({ id: text() }) satisfies z.ZodType<GiveBackAsked>;

/** Follows a question mark: texts. */
export const logsAsked = body({
  class: text(),
  after: numberText(0, Number.MAX_SAFE_INTEGER, 0),
  lines: numberText(1, 1000, 1000),
  waitMs: numberText(0, WAIT_MS_MAX, 0),
}) satisfies z.ZodType<LogsAsked>;

export const historyAsked = body({
  class: text().optional(),
}) satisfies z.ZodType<HistoryAsked>;

export const eventsAsked = body({
  after: numberText(0, Number.MAX_SAFE_INTEGER, 0),
}) satisfies z.ZodType<EventsAsked>;

function body<Shape extends z.ZodRawShape>(shape: Shape) {
  const error: z.core.$ZodErrorMap = ({ code }) =>
    code === 'invalid_type' ? 'must be a JSON object' : undefined;
  return z.strictObject(shape, { error });
}

function text() {
  const expected = `must be a text of 1 to ${TEXT_MAX} characters`;
  return z.string(expected).min(1, expected).max(TEXT_MAX, expected);
}

function flag(otherwise: boolean) {
  return z.boolean('must be true or false').default(otherwise);
}

function numberText(least: number, most: number, otherwise: number) {
  const expected = `must be a whole number from ${least} to ${most}`;
  return z
    .string(expected)
    .regex(/^\d{1,16}$/, expected)
    .transform(Number)
    .refine((number) => number >= least && number <= most, expected)
    .default(otherwise);
}

function whole() {
  return z.int('must be a whole number');
}

/** What is wrong, in one line: the first thing only. */
export function explainIssues(schema: z.ZodType, { issues }: z.ZodError): string {
  const [issue] = issues;
  if (issue === undefined) return 'it is wrong';
  if (issue.code !== 'unrecognized_keys') return `${nameOf(issue.path)} ${issue.message}`;
  const keys = issue.keys.map((key) => JSON.stringify(key.slice(0, TEXT_MAX))).join(', ');
  const fields = schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
  return `${keys} is not known here; known: ${fields.join(', ') || 'nothing'}`;
}

function nameOf(path: PropertyKey[]): string {
  return path.length === 0 ? 'the request' : `"${path.join('.')}"`;
}
