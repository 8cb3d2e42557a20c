-- Requests of more kinds, what they name and what is said about them; what grants are narrowed and bound to; principals
-- that are stopped.

-- `quorum` is whose consent is needed, as JSON; NULL in older rows: `approvals_needed` of `reviewer_groups`. `grant_id` is
-- an extension's from the start. `recurring` is until when and at which times a standing approval holds. `closed_at` ends
-- a standing approval, or the review of break-glass.
ALTER TABLE requests ADD COLUMN kind TEXT NOT NULL DEFAULT 'access' CHECK (kind IN ('access', 'extension', 'standing', 'break-glass'));
ALTER TABLE requests ADD COLUMN quorum TEXT;
ALTER TABLE requests ADD COLUMN relations TEXT NOT NULL DEFAULT '[]';
ALTER TABLE requests ADD COLUMN client_address TEXT;
ALTER TABLE requests ADD COLUMN recurring TEXT;
ALTER TABLE requests ADD COLUMN closed_at INTEGER;
ALTER TABLE requests ADD COLUMN closed_by_id TEXT REFERENCES principals (id);
ALTER TABLE requests ADD COLUMN close_reason TEXT;
CREATE INDEX requests_not_closed ON requests (kind, status) WHERE kind IN ('standing', 'break-glass') AND closed_at IS NULL;

CREATE TABLE request_comments (
    request_id TEXT    NOT NULL REFERENCES requests (id),
    number     INTEGER NOT NULL,
    author_id  TEXT    NOT NULL REFERENCES principals (id),
    text       TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (request_id, number)
);

-- `bound_address` is the only one from which clients may come; where `binds_first_use`, the first one becomes it.
-- `extended`: its end is later than tickets of it may say.
ALTER TABLE grants ADD COLUMN relations TEXT NOT NULL DEFAULT '[]';
ALTER TABLE grants ADD COLUMN bound_address TEXT;
ALTER TABLE grants ADD COLUMN binds_first_use BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE grants ADD COLUMN extended BOOLEAN NOT NULL DEFAULT FALSE;

CREATE TABLE principal_stops (
    principal_id  TEXT    NOT NULL PRIMARY KEY REFERENCES principals (id),
    reason        TEXT,
    stopped_by_id TEXT    REFERENCES principals (id),
    stopped_at    INTEGER NOT NULL
);
