// SPDX-License-Identifier: Apache-2.0

/** What a search word may consist of; a = makes the query a form. */
const searchWord = /^(?:[A-Za-z0-9\-_.!~*'();/?:@&,$]|%[0-9A-Fa-f]{2})+$/;
const activeInShells = /[&;`'"|*?~<>^()[\]{}$\\\n\xff]/g;

/**
 * The program's arguments after its name, for a query like `first+second` (RFC 3875 §4.4, §7.2): decoded,
 * Latin-1, a backslash before what is active in a shell. Beyond the RFC there are none where one could be
 * read as an option, which has made interpreters run what a client sent.
 */
export function searchWords(queryString: string, method = 'GET'): string[] {
  if (method !== 'GET' && method !== 'HEAD') return [];
  const words: string[] = [];
  for (const encoded of queryString.split('+')) {
    if (!searchWord.test(encoded)) return [];
    const word = encoded.replace(/%(..)/g, (_, hex) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    );
    if (word.includes('\0') || /^\s*-/.test(word)) return [];
    words.push(word.replace(activeInShells, '\\$&'));
  }
  return words;
}
