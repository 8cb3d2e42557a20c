-- Connectors and gateways, the tokens by which they join, clients' sessions, and secrets at rest.

-- A sealed value is bound to its name; the key that opens it is not in this database.
CREATE TABLE sealed_values (
    name       TEXT    PRIMARY KEY,
    value      BYTEA    NOT NULL,
    created_at BIGINT  NOT NULL
);

-- `attachment` names the control stream that is up, and `seen_at` is renewed while it is: a stream whose replica
-- died is known by its age.
CREATE TABLE identities (
    id                     TEXT    PRIMARY KEY,
    kind                   TEXT    NOT NULL CHECK (kind IN ('connector', 'gateway')),
    name                   TEXT    NOT NULL,
    enrolled_at            BIGINT  NOT NULL,
    certificate_expires_at BIGINT  NOT NULL,
    revoked_at             BIGINT,
    version                TEXT,
    region                 TEXT,
    connector_address      TEXT,
    client_address         TEXT,
    incarnation            TEXT,
    attachment             TEXT,
    seen_at                BIGINT
);
CREATE INDEX identities_by_name ON identities (kind, name);

-- A join token is kept by its fingerprint alone.
CREATE TABLE join_tokens (
    id            TEXT    PRIMARY KEY,
    kind          TEXT    NOT NULL CHECK (kind IN ('connector', 'gateway')),
    name          TEXT    NOT NULL,
    fingerprint   TEXT    NOT NULL UNIQUE,
    created_at    BIGINT  NOT NULL,
    expires_at    BIGINT  NOT NULL,
    used_at       BIGINT,
    identity_id   TEXT    REFERENCES identities (id)
);

CREATE TABLE sessions (
    id               TEXT    PRIMARY KEY,
    grant_id         TEXT    NOT NULL REFERENCES grants (id),
    principal_id     TEXT    NOT NULL REFERENCES principals (id),
    on_behalf_of_id  TEXT    REFERENCES principals (id),
    connection       TEXT    NOT NULL,
    access_role      TEXT    NOT NULL,
    database_role    TEXT,
    client_address   TEXT    NOT NULL,
    gateway_id       TEXT    NOT NULL,
    connector_id     TEXT    NOT NULL,
    incarnation      TEXT    NOT NULL,
    backend_pid      BIGINT,
    application_name TEXT,
    auth_method      TEXT    NOT NULL,
    status           TEXT    NOT NULL CHECK (status IN ('authorized', 'active', 'ended')),
    started_at       BIGINT  NOT NULL,
    ended_at         BIGINT,
    end_reason       TEXT
);
CREATE INDEX sessions_by_start ON sessions (started_at);
CREATE INDEX sessions_open ON sessions (connector_id) WHERE status <> 'ended';
CREATE INDEX sessions_by_principal ON sessions (principal_id);
CREATE INDEX sessions_by_grant ON sessions (grant_id) WHERE status <> 'ended';
