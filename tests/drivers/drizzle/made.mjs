import { integer, pgSchema, text } from "drizzle-orm/pg-core";

export const schema = pgSchema("by_drizzle");
export const made = schema.table("made", { id: integer("id").primaryKey(), text: text("text").notNull() });
