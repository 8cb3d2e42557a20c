-- Policies as files, and connections that are frozen.

-- One row. `revision` counts the changes of all that connectors are told for deciding: policies, freezes,
-- connections; `version` counts those of policies alone, and `hash` is theirs. Whoever changes any of it locks the
-- row first.
CREATE TABLE policy_state (
    id       BIGINT  NOT NULL PRIMARY KEY CHECK (id = 1),
    revision BIGINT  NOT NULL,
    version  BIGINT  NOT NULL,
    hash     TEXT    NOT NULL
);
INSERT INTO policy_state (id, revision, version, hash) VALUES (1, 0, 0, '');

-- A file's text holds from one version up to, and without, another; what holds now has no end.
CREATE TABLE policy_files (
    name          TEXT    NOT NULL,
    text          TEXT    NOT NULL,
    applied_by_id TEXT    REFERENCES principals (id),
    applied_at    BIGINT  NOT NULL,
    since_version BIGINT  NOT NULL,
    until_version BIGINT ,
    PRIMARY KEY (name, since_version)
);
CREATE UNIQUE INDEX policy_files_in_force ON policy_files (name) WHERE until_version IS NULL;

CREATE TABLE connection_freezes (
    connection   TEXT    NOT NULL PRIMARY KEY REFERENCES connections (name) ON DELETE CASCADE,
    reason       TEXT,
    frozen_by_id TEXT    REFERENCES principals (id),
    frozen_at    BIGINT  NOT NULL
);
