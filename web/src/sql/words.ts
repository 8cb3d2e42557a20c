/** Words that are coloured. A column of such a name is too, which does no harm. */
const KEYWORDS = new Set(
  `all alter analyze and any as asc begin between by call cascade case check cluster commit constraint copy create cross
  cube current database declare default delete desc distinct do drop else end escape except execute exists explain extension
  false fetch filter following for foreign from full function grant group having if ilike in index inner insert intersect
  into is isnull join key language lateral left like limit local lock materialized merge natural no not nothing notify null nulls
  of offset on only or order outer over partition preceding prepare primary procedure program public range recursive
  references refresh reindex reset restrict returning revoke right role rollback row rows savepoint schema security select
  sequence session set similar some start table temp temporary then to trigger true truncate type union unique unlogged
  update user using vacuum values view when where window with without`.split(/\s+/),
);

export function isKeyword(word: string): boolean {
  return KEYWORDS.has(word.toLowerCase());
}
