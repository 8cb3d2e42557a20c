import { readSearch, type AuditSearch } from "./search";

export interface SavedSearch {
  name: string;
  search: AuditSearch;
}

/** More than anybody finds again. */
const MOST = 50;

/** Of whom, since a browser may be somebody else's tomorrow. */
function keyOf(principal: string): string {
  return `searches:${principal}`;
}

/** What this browser keeps of somebody: names and filters, as the address has them. */
export function savedOf(principal: string): SavedSearch[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(keyOf(principal)) ?? "[]");
    return Array.isArray(kept) ? kept.flatMap(read) : [];
  } catch {
    return [];
  }
}

/** Whatever is kept, as far as it is a search. */
function read(one: unknown): SavedSearch[] {
  if (typeof one !== "object" || one === null) return [];
  const { name, search } = one as Record<string, unknown>;
  if (typeof name !== "string" || typeof search !== "object" || search === null) return [];
  return [{ name, search: readSearch(search as Record<string, unknown>) }];
}

/** With this one among them; gives all. */
export function keep(principal: string, one: SavedSearch): SavedSearch[] {
  return write(principal, [one, ...savedOf(principal).filter(({ name }) => name !== one.name)].slice(0, MOST));
}

/** Without that one; gives the others. */
export function forget(principal: string, name: string): SavedSearch[] {
  return write(
    principal,
    savedOf(principal).filter((one) => one.name !== name),
  );
}

function write(principal: string, all: SavedSearch[]): SavedSearch[] {
  localStorage.setItem(keyOf(principal), JSON.stringify(all));
  return all;
}
