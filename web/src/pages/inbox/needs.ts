import type { Schemas } from "../../api/client";

/** How many of whom: `2 of dba and 1 of the admins`. */
export function spellNeeds(needs: Schemas["Need"][], between = " and "): string {
  return needs.map((need) => `${need.count} of ${need.groups.length > 0 ? need.groups.join(", ") : "the admins"}`).join(between);
}
