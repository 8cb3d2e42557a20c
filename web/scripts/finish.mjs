// Compresses what was built once and for all, and fails where the first page has become too heavy.
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const DIST = new URL("../dist/", import.meta.url).pathname;
const SHRINKS = /\.(html|js|css|svg|txt)$/;

/** The most JavaScript that is fetched before the inbox is there, compressed. */
const MOST_BYTES = 250_000;

for (const path of files(DIST)) {
  if (!SHRINKS.test(path)) continue;
  const plain = readFileSync(path);
  const brotli = brotliCompressSync(plain, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: plain.length } });
  const gzip = gzipSync(plain, { level: 9 });
  if (brotli.length < plain.length) writeFileSync(`${path}.br`, brotli);
  if (gzip.length < plain.length) writeFileSync(`${path}.gz`, gzip);
}

const manifest = JSON.parse(readFileSync(join(DIST, ".vite/manifest.json"), "utf8"));
rmSync(join(DIST, ".vite"), { recursive: true });
const initial = new Set();
const follow = (key) => {
  const { file, imports = [] } = manifest[key];
  if (initial.has(file)) return;
  initial.add(file);
  imports.forEach(follow);
};
follow("index.html");
const bytes = [...initial].filter((file) => file.endsWith(".js")).reduce((sum, file) => sum + statSync(join(DIST, `${file}.gz`)).size, 0);
console.log(`The first page fetches ${Math.round(bytes / 1000)} kB of JavaScript, of at most ${MOST_BYTES / 1000}.`);
if (bytes > MOST_BYTES) process.exit(1);

function* files(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* files(path);
    else yield path;
  }
}
