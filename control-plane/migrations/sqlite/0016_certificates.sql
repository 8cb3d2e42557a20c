-- Certificates of machines, each as its SHA-256 in hexadecimal: without which one a token is worth nothing; with which one
-- somebody asked; to which one a grant is bound.
ALTER TABLE tokens ADD COLUMN certificate TEXT;
ALTER TABLE requests ADD COLUMN certificate TEXT;
ALTER TABLE grants ADD COLUMN bound_certificate TEXT;

-- An issuer without an address has authorities in its place.
CREATE TABLE issuers_with_authorities (
    name       TEXT    NOT NULL PRIMARY KEY,
    url        TEXT    UNIQUE,
    document   TEXT    NOT NULL,
    updated_at INTEGER NOT NULL
);
INSERT INTO issuers_with_authorities SELECT name, url, document, updated_at FROM issuers;
DROP TABLE issuers;
ALTER TABLE issuers_with_authorities RENAME TO issuers;
