-- Agents that act on behalf of people.

-- A token for both is good as long as the person's and the agent's are by which it was made.
ALTER TABLE tokens ADD COLUMN subject_token_id TEXT REFERENCES tokens (id);
ALTER TABLE tokens ADD COLUMN actor_token_id TEXT REFERENCES tokens (id);

-- Whether an agent acts on behalf of those alone of whom that is proved.
ALTER TABLE principals ADD COLUMN proves_behalf BOOLEAN NOT NULL DEFAULT FALSE;
