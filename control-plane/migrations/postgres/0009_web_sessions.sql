-- Browsers that came with a token, by the fingerprint of their cookie. They live no longer than the token.
CREATE TABLE web_sessions (
    fingerprint  TEXT    PRIMARY KEY,
    token_id     TEXT    NOT NULL REFERENCES tokens (id),
    created_at   BIGINT  NOT NULL,
    last_used_at BIGINT  NOT NULL
);
CREATE INDEX web_sessions_by_age ON web_sessions (created_at);
