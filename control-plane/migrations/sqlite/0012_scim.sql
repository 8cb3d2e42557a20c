-- Users and groups that a directory keeps over SCIM, `client_id` being the agent that it comes as.

-- `active` is the directory's word, `held` that of documents: who is not active, or is held, is disabled. `document` is the
-- resource in JSON. A user that the directory has deleted stays: the audit refers to it.
CREATE TABLE scim_users (
    principal_id TEXT    NOT NULL PRIMARY KEY REFERENCES principals (id),
    client_id    TEXT    NOT NULL REFERENCES principals (id),
    external_id  TEXT,
    active       BOOLEAN NOT NULL,
    held         BOOLEAN NOT NULL,
    document     TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    deleted_at   INTEGER
);
CREATE INDEX scim_users_by_client ON scim_users (client_id, created_at) WHERE deleted_at IS NULL;

CREATE TABLE scim_groups (
    id          TEXT    NOT NULL PRIMARY KEY,
    name        TEXT    NOT NULL UNIQUE REFERENCES principal_groups (name) ON DELETE CASCADE,
    client_id   TEXT    NOT NULL REFERENCES principals (id),
    external_id TEXT,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
);
CREATE INDEX scim_groups_by_client ON scim_groups (client_id, created_at);

-- Names that differ by letter case alone are one person's to a directory.
CREATE INDEX principals_by_folded_name ON principals (kind, LOWER(name));
