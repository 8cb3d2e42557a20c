import type { Schemas } from "../../api/client";

/** How many of whom: `2 of dba and 1 of the admins`. */
export function spellNeeds(needs: Schemas["Need"][], between = " and "): string {
  return needs.map((need) => `${need.count} of ${need.groups.length > 0 ? need.groups.join(", ") : "the admins"}`).join(between);
}

/** What was agreed to. */
export function spellDecision({ max_rows, for_grant, edited_sql }: Schemas["Proposal"]): string {
  const rows = typeof max_rows === "number" ? `at most ${max_rows.toLocaleString()} rows` : "any number of rows";
  return [rows, for_grant ? "for the whole grant" : "once", edited_sql ? "with another text" : ""].filter(Boolean).join(", ");
}
