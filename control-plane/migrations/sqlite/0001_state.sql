-- Principals, connections, requests, grants and the audit. Times are microseconds since the Unix epoch.

CREATE TABLE principals (
    id         TEXT    PRIMARY KEY,
    kind       TEXT    NOT NULL CHECK (kind IN ('user', 'agent')),
    name       TEXT    NOT NULL,
    admin      BOOLEAN NOT NULL,
    auditor    BOOLEAN NOT NULL,
    disabled   BOOLEAN NOT NULL,
    owner_id   TEXT    REFERENCES principals (id),
    created_at INTEGER NOT NULL,
    UNIQUE (kind, name)
);

CREATE TABLE principal_groups (
    name       TEXT    PRIMARY KEY,
    created_at INTEGER NOT NULL
);

CREATE TABLE group_members (
    group_name   TEXT NOT NULL REFERENCES principal_groups (name) ON DELETE CASCADE,
    principal_id TEXT NOT NULL REFERENCES principals (id),
    PRIMARY KEY (group_name, principal_id)
);
CREATE INDEX group_members_by_principal ON group_members (principal_id);

-- A token is kept by its fingerprint alone. A revoked one stays as a row: the audit refers to it.
CREATE TABLE tokens (
    id           TEXT    PRIMARY KEY,
    principal_id TEXT    NOT NULL REFERENCES principals (id),
    name         TEXT    NOT NULL,
    fingerprint  TEXT    NOT NULL UNIQUE,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER,
    revoked_at   INTEGER
);

-- `document` is the connection as applied, in JSON.
CREATE TABLE connections (
    name       TEXT    PRIMARY KEY,
    connector  TEXT    NOT NULL,
    document   TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);

-- `version` counts the changes; the first statement of a change counts it up, which locks the row.
CREATE TABLE requests (
    id               TEXT    PRIMARY KEY,
    connection       TEXT    NOT NULL,
    access_role      TEXT    NOT NULL,
    duration_us      INTEGER NOT NULL,
    reason           TEXT    NOT NULL,
    ticket           TEXT,
    requester_id     TEXT    NOT NULL REFERENCES principals (id),
    on_behalf_of_id  TEXT    REFERENCES principals (id),
    status           TEXT    NOT NULL CHECK (status IN ('pending', 'approved', 'denied', 'expired', 'withdrawn')),
    created_at       INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    approvals_needed INTEGER NOT NULL,
    reviewer_groups  TEXT    NOT NULL,
    policy_reason    TEXT    NOT NULL,
    grant_id         TEXT,
    decided_at       INTEGER,
    version          INTEGER NOT NULL
);
CREATE INDEX requests_pending ON requests (expires_at) WHERE status = 'pending';
CREATE INDEX requests_by_requester ON requests (requester_id);

CREATE TABLE votes (
    request_id  TEXT    NOT NULL REFERENCES requests (id),
    reviewer_id TEXT    NOT NULL REFERENCES principals (id),
    verdict     TEXT    NOT NULL CHECK (verdict IN ('approve', 'deny')),
    reason      TEXT,
    at          INTEGER NOT NULL,
    PRIMARY KEY (request_id, reviewer_id)
);

-- `verifier` proves the grant's URL; it is absent until the URL was asked for. `ended_at` is set once the end
-- was recorded and sessions were told, by expiry or by revocation.
CREATE TABLE grants (
    id              TEXT    PRIMARY KEY,
    request_id      TEXT    NOT NULL UNIQUE REFERENCES requests (id),
    connection      TEXT    NOT NULL,
    access_role     TEXT    NOT NULL,
    principal_id    TEXT    NOT NULL REFERENCES principals (id),
    on_behalf_of_id TEXT    REFERENCES principals (id),
    reason          TEXT    NOT NULL,
    starts_at       INTEGER NOT NULL,
    ends_at         INTEGER NOT NULL,
    verifier        TEXT,
    revoked_at      INTEGER,
    revoked_by_id   TEXT    REFERENCES principals (id),
    revoke_reason   TEXT,
    ended_at        INTEGER
);
CREATE INDEX grants_open ON grants (ends_at) WHERE ended_at IS NULL;
CREATE INDEX grants_by_principal ON grants (principal_id);
CREATE INDEX grants_by_connection ON grants (connection) WHERE ended_at IS NULL;

-- Further secrets of a grant: one for each command that speaks PostgreSQL itself.
CREATE TABLE credentials (
    id         TEXT    PRIMARY KEY,
    grant_id   TEXT    NOT NULL REFERENCES grants (id),
    verifier   TEXT    NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX credentials_by_grant ON credentials (grant_id);

-- `source` is a connector's id, or `control-plane`.
CREATE TABLE audit_segments (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    source      TEXT    NOT NULL,
    segment_id  TEXT    NOT NULL,
    first_at_us INTEGER NOT NULL,
    last_at_us  INTEGER NOT NULL,
    events      INTEGER NOT NULL,
    payload     BLOB    NOT NULL,
    UNIQUE (source, segment_id)
);
CREATE INDEX audit_segments_by_time ON audit_segments (last_at_us);
