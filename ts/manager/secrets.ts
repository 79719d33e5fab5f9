// SPDX-License-Identifier: Apache-2.0
// Keeps secrets out of what is told of a start: which variables hold some is guessed by their names, and
// what they hold is found again wherever the program prints it. Masks rather too much than too little.

const MASK = '***';
/** Shorter values are masked where they stand, but not looked for in texts: they would be found anywhere. */
const FOUND_AGAIN_MIN = 4;
/** Longer ones are cut: nobody reads on, and they are kept. */
const VALUE_MAX = 256;
const VARIABLES_MAX = 200;

const secretWords =
  'passw|passphrase|_pass$|^pass$|pwd|secret|token|key|credential|authorization|cookie|salt|dsn';
const secretName = new RegExp(secretWords, 'i');
/** They hold no secret, though their names sound so. */
const harmlessNames = new Set(['PWD', 'OLDPWD']);

/** scheme://user:PASSWORD@host; up to the last @ of the word, as passwords may hold any sign. */
const urlPassword = /([a-z][a-z0-9+.-]{0,20}:\/\/[^\s:@/]{0,256}):(\S{0,1024})@/gi;
/** password=VALUE, "api_key": "VALUE" …, as settings, addresses and JSON have it. */
const setting =
  /((?:passw(?:or)?d|passphrase|pwd|secret|token|(?:api|access|private)[_-]?key|credentials?)[\w.-]{0,40}["']?\s{0,8}[=:]\s{0,8})("[^"]*"|'[^']*'|[^\s"'&;,)]+)/gi;
/** --db-password=VALUE; --password, whose value is the next word. */
const secretOption =
  /^(-{1,2}[\w.-]*(?:passw|passphrase|pwd|secret|token|key|credential)[\w.-]*)(?:=.*)?$/is;
const authorization = /\b(bearer|basic|digest|negotiate)\s+[\w.~+/=-]{8,}/gi;
const privateKey =
  /(-----BEGIN [A-Z ]*PRIVATE KEY-----)[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g;

export class Masker {
  /** NAME=value each, without secrets. */
  readonly environment: readonly string[];
  /** Longest first, so that one that holds another is found whole. */
  #secrets: readonly string[];

  /** @param env NAME=value each. @param marked Names that are secret whatever they sound like. */
  constructor(env: readonly string[], marked: readonly string[] = []) {
    const names = new Set(marked);
    const variables = env.map((entry) => split(entry));
    const isSecret = (name: string) => names.has(name) || isSecretName(name);
    const hidden = variables.flatMap(([name, value]) =>
      isSecret(name) ? [value] : passwordsIn(value),
    );
    this.#secrets = withSpellings(hidden);
    const shown = variables
      .slice(0, VARIABLES_MAX)
      .map(([name, value]) => `${name}=${isSecret(name) ? MASK : cut(this.text(value))}`);
    const more = variables.length - shown.length;
    this.environment = more > 0 ? [...shown, `… and ${more} more`] : shown;
  }

  /** Any text that may repeat what the program was given. */
  text(text: string): string {
    if (text === '') return text;
    let told = text;
    for (const secret of this.#secrets) told = told.replaceAll(secret, MASK);
    return maskText(this.#maskBeginning(told));
  }

  /** Words of a command line. */
  words(words: readonly string[]): string[] {
    let follows = false;
    return words.map((word) => {
      const [, option] = secretOption.exec(word) ?? [];
      const told = follows && !word.startsWith('-') ? MASK : this.text(word);
      follows = option === word;
      return option === undefined || follows ? told : `${option}=${MASK}`;
    });
  }

  /** Output is cut somewhere: what is left there of a secret is one as well. */
  #maskBeginning(text: string): string {
    let longest = 0;
    for (const secret of this.#secrets) {
      const most = Math.min(secret.length - 1, text.length);
      for (let length = most; length >= FOUND_AGAIN_MIN && length > longest; length -= 1) {
        if (text.startsWith(secret.slice(-length))) longest = length;
      }
    }
    return longest === 0 ? text : MASK + text.slice(longest);
  }
}

const maskers = new WeakMap<readonly string[], Masker>();

/** The same for each start of a class. */
export function maskerOf(env: readonly string[], marked?: readonly string[]): Masker {
  const known = maskers.get(env);
  if (known) return known;
  const masker = new Masker(env, marked);
  maskers.set(env, masker);
  return masker;
}

export function isSecretName(name: string): boolean {
  return secretName.test(name) && !harmlessNames.has(name);
}

/** What looks like a secret by itself. */
function maskText(text: string): string {
  return text
    .replace(privateKey, `$1${MASK}$2`)
    .replace(urlPassword, `$1:${MASK}@`)
    .replace(authorization, `$1 ${MASK}`)
    .replace(setting, `$1${MASK}`);
}

function passwordsIn(value: string): string[] {
  const inUrls = [...value.matchAll(urlPassword)].map((match) => match[2] ?? '');
  const assigned = [...value.matchAll(setting)].map((match) => unquote(match[2] ?? ''));
  return [...inUrls, ...assigned];
}

/** As they are, and as addresses and JSON spell them. */
function withSpellings(secrets: readonly string[]): string[] {
  const all = secrets
    .filter((secret) => secret.length >= FOUND_AGAIN_MIN && secret !== MASK)
    .flatMap((secret) => [secret, encode(secret), JSON.stringify(secret).slice(1, -1)]);
  return [...new Set(all)].sort((a, b) => b.length - a.length);
}

function encode(secret: string): string {
  try {
    return encodeURIComponent(secret);
  } catch {
    return secret; // half a character
  }
}

function split(entry: string): [name: string, value: string] {
  const at = entry.indexOf('=');
  return at < 0 ? [entry, ''] : [entry.slice(0, at), entry.slice(at + 1)];
}

function unquote(text: string): string {
  return text.replace(/^["']|["']$/g, '');
}

function cut(text: string): string {
  return text.length > VALUE_MAX ? `${text.slice(0, VALUE_MAX)}…` : text;
}
