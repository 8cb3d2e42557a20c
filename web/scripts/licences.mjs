// The notices of all packages of which something is in the console, as a file beside it.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const FILE = "licences.txt";
const NOTICE = /^(?:licen[cs]e|copying|notice|ofl)(?:[.-]|$)/i;

/** The folder of the package that a module is of; null: it is the console's own. */
function packageOf(module) {
  const at = module.lastIndexOf("/node_modules/");
  if (at < 0) return null;
  const [path] = module.slice(at + "/node_modules/".length).split("?");
  const [first, second] = path.split("/");
  return join(module.slice(0, at), "node_modules", first.startsWith("@") ? `${first}/${second}` : first);
}

function notice(folder) {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const texts = readdirSync(folder).filter((file) => NOTICE.test(file));
  if (texts.length === 0 && typeof license !== "string") throw new Error(`${name} says under which licence it is nowhere`);
  const said = texts.map((file) => readFileSync(join(folder, file), "utf8").trim());
  return `${"=".repeat(80)}\n${name} ${version} (${license})\n${"=".repeat(80)}\n\n${said.join("\n\n")}`;
}

export function licences() {
  return {
    name: "licences",
    generateBundle(_, bundle) {
      const modules = Object.values(bundle).flatMap((chunk) => (chunk.type === "chunk" ? chunk.moduleIds : []));
      const folders = new Set(modules.map((module) => packageOf(module.replace(/^\0/, ""))).filter((folder) => folder !== null));
      const packages = [...folders].filter((folder) => existsSync(join(folder, "package.json"))).sort();
      const text = packages.map(notice).join("\n\n");
      this.emitFile({ type: "asset", fileName: FILE, source: `What of others is in Postern's console, and under which licences.\n\n${text}\n` });
    },
  };
}
