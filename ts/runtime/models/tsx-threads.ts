// SPDX-License-Identifier: Apache-2.0
// TypeScript in threads: `node --import tsx` and `tsx` prepare the main thread only (of Node 20), so the
// thread's first lines do what they do.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

/**
 * @param execArgv of this process
 * @returns what a thread has to run instead of the file; null = the file itself
 */
export function tsxBootstrap(file: string, execArgv: readonly string[]): string | null {
  const loader = tsxLoader(execArgv);
  if (loader === null || !/\.[cm]?tsx?$/.test(file)) return null;
  const interfaces = ['./cjs/api/index.mjs', './esm/api/index.mjs'].map(
    (path) => new URL(path, loader).href,
  );
  return `
    process.argv[1] = ${JSON.stringify(file)};
    Promise.all(${JSON.stringify(interfaces)}.map((url) => import(url))).then((all) => {
      for (const { register } of all) register();
      return import(${JSON.stringify(pathToFileURL(file).href)});
    });`;
}

/** The URL of its dist/loader.mjs. */
function tsxLoader(execArgv: readonly string[]): string | null {
  for (const word of execArgv) {
    const loader = word.replace(/^--(import|loader)=/, '');
    if (/^file:.*\/tsx\/dist\/loader\.mjs$/.test(loader)) return loader;
    if (loader !== 'tsx') continue;
    try {
      const path = createRequire(`${process.cwd()}/`).resolve('tsx');
      return pathToFileURL(path).href;
    } catch {
      return null; // then Node has found another one than we can
    }
  }
  return null;
}
