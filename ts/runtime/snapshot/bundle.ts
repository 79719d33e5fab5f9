// SPDX-License-Identifier: Apache-2.0
// One CommonJS file of a program and all its modules, as `node --build-snapshot` takes it.
//
// esbuild makes an ES module of it, for "cjs" cannot have top-level await; an async function around it does
// the rest, as nothing is imported or exported any more.
import { statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { dirname, extname, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import * as esbuild from 'esbuild';
import { type FileState, fileState, type SnapshotRecord } from './record.ts';
import { isDeferred, shapeOfModule, shapesOfGlobals } from './shapes.ts';
import type { Shape } from './stand-in.ts';

/** What the first line of the bundle gives to the prelude, and the prelude to the modules. */
export interface BundleHooks {
  readonly record: SnapshotRecord;
  readonly globals: Shape;
  /** Modules of Node that are in the snapshot. */
  readonly modules: readonly string[];
  readonly usesRandom: boolean;
  readonly timeoutMs: number;
  readonly nodeRequire: (name: string) => unknown;
  builtin: (name: string, shape?: Shape) => unknown;
  require: (name: string) => unknown;
  fail: (error: unknown) => void;
}

export interface Bundle {
  text(record: SnapshotRecord, timeoutMs: number): string;
  /** JSON; sources are relative to the directory of the program. */
  sourceMap: string;
  /** As they were before they were read. */
  files: FileState[];
  warnings: string[];
}

/** @throws Error with a line for each error: FILE:LINE:COLUMN: what */
export async function makeBundle(program: string): Promise<Bundle> {
  const files = new Map<string, FileState>();
  const modules = new Set<string>();
  const directory = dirname(program);
  try {
    const { outputFiles, warnings, metafile } = await esbuild.build({
      stdin: {
        contents: [prelude, program].map((path) => `import ${JSON.stringify(path)};`).join('\n'),
        resolveDir: directory,
        sourcefile: 'start of the bundle',
      },
      absWorkingDir: directory,
      outfile: `${directory}/bundle.cjs`,
      bundle: true,
      write: false,
      metafile: true,
      format: 'esm',
      platform: 'node',
      target: `node${process.versions.node}`,
      sourcemap: 'external',
      sourcesContent: false,
      keepNames: false,
      logLevel: 'silent',
      // What is named by an expression goes to usherHooks.require: import() is not there in a snapshot.
      supported: { 'dynamic-import': false },
      define: {
        'import.meta': 'usherMeta',
        __filename: 'usherMeta.filename',
        __dirname: 'usherMeta.dirname',
      },
      plugins: [nodeModules(modules), sources(files)],
    });
    const isSloppy = await hasSloppyModule(directory, metafile);
    const [map, output] = outputFiles.toSorted(
      (a, b) => Number(b.path.endsWith('.map')) - Number(a.path.endsWith('.map')),
    );
    const body = output?.text ?? '';
    return {
      sourceMap: map?.text ?? '',
      files: [...files.values()],
      warnings: warnings.map((warning) => sayWhere(warning, directory)),
      text: (record, timeoutMs) => {
        const hooks = {
          ...{ record, timeoutMs, globals: shapesOfGlobals() },
          modules: [...modules].filter((name) => !isDeferred(name)),
          usesRandom: body.includes('randomUUID'),
        };
        const head = `const usherHooks = { ...${JSON.stringify(hooks)}, nodeRequire: require, builtin: (name) => require('node:' + name), fail: (error) => { throw error; } }; (async (require) => {${isSloppy ? '' : "'use strict';"} `;
        return `${head}${body}\n})((name) => usherHooks.require(name)).catch((error) => usherHooks.fail(error));\n`;
      },
    };
  } catch (error) {
    const errors = (error as Partial<esbuild.BuildFailure>).errors;
    if (errors === undefined) throw error;
    throw new Error(errors.map((message) => sayWhere(message, directory)).join('\n'));
  }
}

const prelude = fileURLToPath(new URL(`./prelude${extname(import.meta.url)}`, import.meta.url));

/** Modules of Node are asked for where they are used: real, or a stand-in. */
function nodeModules(found: Set<string>): esbuild.Plugin {
  return {
    name: 'modules of Node',
    setup(build) {
      build.onResolve({ filter: /^[\w:/]+$/ }, ({ path }) => {
        if (!isBuiltin(path)) return null;
        return { path: path.replace(/^node:/, ''), namespace: 'node' };
      });
      build.onLoad({ filter: /./, namespace: 'node' }, ({ path }) => {
        found.add(path);
        const given = [path, ...(isDeferred(path) ? [shapeOfModule(path)] : [])];
        const words = given.map((one) => JSON.stringify(one)).join(', ');
        return { contents: `module.exports = usherHooks.builtin(${words});` };
      });
      build.onResolve({ filter: /\.node$/ }, ({ path, resolveDir }) => ({
        path: path.startsWith('.') ? `${resolveDir}/${path}` : path,
        namespace: 'addon',
      }));
      build.onLoad({ filter: /./, namespace: 'addon' }, ({ path }) => ({
        contents: `module.exports = usherHooks.require(${JSON.stringify(path)});`,
      }));
    },
  };
}

const loaders: Record<string, esbuild.Loader> = {
  ...{ '.js': 'js', '.cjs': 'js', '.mjs': 'js', '.jsx': 'jsx' },
  ...{ '.ts': 'ts', '.cts': 'ts', '.mts': 'ts', '.tsx': 'tsx' },
};

/** Notes what is read; modules keep the place that they have, also in the bundle. */
function sources(files: Map<string, FileState>): esbuild.Plugin {
  return {
    name: 'sources',
    setup(build) {
      build.onLoad({ filter: /./, namespace: 'file' }, async ({ path }) => {
        files.set(path, fileState(path));
        const loader = loaders[extname(path)];
        if (loader === undefined) return null;
        const text = await readFile(path, 'utf8');
        if (!/import\.meta|__filename|__dirname/.test(text)) return { contents: text, loader };
        const meta = { url: pathToFileURL(path).href, filename: path, dirname: dirname(path) };
        const [start = ''] = /^(#!.*\n)?/.exec(text) ?? [];
        const strict = /^\s*(['"])use strict\1/.test(text.slice(start.length))
          ? '"use strict"; '
          : '';
        const line = `${start}${strict}const usherMeta = ${JSON.stringify(meta)}; `;
        return { contents: line + text.slice(start.length), loader };
      });
    },
  };
}

/** CommonJS that does not say 'use strict' may rely on that. */
async function hasSloppyModule(directory: string, metafile: esbuild.Metafile): Promise<boolean> {
  for (const [path, { format }] of Object.entries(metafile.inputs)) {
    if (format !== 'cjs' || /^(node|addon):/.test(path)) continue;
    if (!/^\s*(['"])use strict\1/m.test(await readFile(`${directory}/${path}`, 'utf8')))
      return true;
  }
  return false;
}

function sayWhere({ text, location }: esbuild.Message, directory: string): string {
  if (location === null) return text;
  const { file, line, column } = location;
  const path = relative(process.cwd(), `${directory}/${file}`);
  return `${path}:${line}:${column + 1}: ${text}`;
}

/** Whether there is a program at all. @throws Error naming it */
export function checkProgram(program: string): void {
  const stat = statSync(program, { throwIfNoEntry: false });
  if (stat === undefined) throw new Error(`${program} does not exist`);
  if (!stat.isFile()) throw new Error(`${program} is not a file`);
  if (loaders[extname(program)] === undefined) {
    const known = Object.keys(loaders).join(', ');
    throw new Error(`${program}: a program ends with one of ${known}`);
  }
}
