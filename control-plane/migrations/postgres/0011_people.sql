-- People who sign in at an identity provider.

-- `document` is the provider as applied, in JSON.
CREATE TABLE identity_providers (
    name       TEXT    NOT NULL PRIMARY KEY,
    document   TEXT    NOT NULL,
    updated_at BIGINT  NOT NULL
);

-- The provider at which a user signs in; NULL: at none.
ALTER TABLE principals ADD COLUMN sign_in TEXT;

-- Who a user is there. `removed_at`: since the provider does not vouch for them any more. That has disabled the user, and
-- that they sign in again lifts it.
CREATE TABLE external_identities (
    provider     TEXT    NOT NULL,
    subject      TEXT    NOT NULL,
    principal_id TEXT    NOT NULL UNIQUE REFERENCES principals (id),
    email        TEXT,
    created_at   BIGINT  NOT NULL,
    removed_at   BIGINT ,
    PRIMARY KEY (provider, subject)
);

-- `refresh_token` and `id_token` are sealed. `verified_at`: when the provider last vouched for them; `checked_at`: when it was
-- last asked to.
CREATE TABLE sign_ins (
    id               TEXT    NOT NULL PRIMARY KEY,
    principal_id     TEXT    NOT NULL REFERENCES principals (id),
    provider         TEXT    NOT NULL,
    subject          TEXT    NOT NULL,
    provider_session TEXT,
    acr              TEXT,
    authenticated_at BIGINT ,
    created_at       BIGINT  NOT NULL,
    expires_at       BIGINT  NOT NULL,
    refresh_token    BYTEA,
    id_token         BYTEA,
    verified_at      BIGINT  NOT NULL,
    checked_at       BIGINT  NOT NULL,
    ended_at         BIGINT 
);
CREATE INDEX sign_ins_open ON sign_ins (checked_at) WHERE ended_at IS NULL;
CREATE INDEX sign_ins_by_subject ON sign_ins (provider, subject) WHERE ended_at IS NULL;
CREATE INDEX sign_ins_by_principal ON sign_ins (principal_id) WHERE ended_at IS NULL;

-- A token that was given by a sign-in ends with it.
ALTER TABLE tokens ADD COLUMN sign_in TEXT REFERENCES sign_ins (id);
CREATE INDEX tokens_by_sign_in ON tokens (sign_in) WHERE sign_in IS NOT NULL;

-- Browsers' sessions get an id to be listed and ended by. Whoever is signed in signs in once more.
DROP TABLE web_sessions;
CREATE TABLE web_sessions (
    fingerprint  TEXT    NOT NULL PRIMARY KEY,
    id           TEXT    NOT NULL UNIQUE,
    token_id     TEXT    NOT NULL REFERENCES tokens (id),
    created_at   BIGINT  NOT NULL,
    last_used_at BIGINT  NOT NULL
);
CREATE INDEX web_sessions_by_age ON web_sessions (created_at);

-- What is good for once: states of sign-ins that were begun, ids of messages that were taken.
CREATE TABLE one_time (
    kind       TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    content    TEXT    NOT NULL,
    expires_at BIGINT  NOT NULL,
    PRIMARY KEY (kind, name)
);
CREATE INDEX one_time_by_end ON one_time (expires_at);

-- Command lines that wait to be signed in, by the fingerprint of their device code.
CREATE TABLE device_logins (
    fingerprint      TEXT    NOT NULL PRIMARY KEY,
    user_code        TEXT    NOT NULL UNIQUE,
    created_at       BIGINT  NOT NULL,
    expires_at       BIGINT  NOT NULL,
    interval_seconds BIGINT  NOT NULL,
    polled_at        BIGINT ,
    denied           BOOLEAN NOT NULL,
    sign_in          TEXT    REFERENCES sign_ins (id)
);
