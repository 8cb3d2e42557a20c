-- Issuers of identity tokens, and tokens that are narrowed to some access roles.

-- `document` is the issuer as applied, in JSON.
CREATE TABLE issuers (
    name       TEXT    NOT NULL PRIMARY KEY,
    url        TEXT    NOT NULL UNIQUE,
    document   TEXT    NOT NULL,
    updated_at BIGINT  NOT NULL
);

-- `may` is a list of `connection/role` in JSON; NULL: whatever the principal may. `issuer` names the one for whose token this
-- was exchanged; it is revoked with it.
ALTER TABLE tokens ADD COLUMN may TEXT;
ALTER TABLE tokens ADD COLUMN issuer TEXT;
