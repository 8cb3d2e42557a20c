-- Statements that wait for people.

-- `key` is that of all that an answer is for; `shape` is empty where no literal can be left free, and `literals` are
-- their digests. `statement` is what reviewers are shown, as the connector has told it. `decision` is set with
-- `decided_at` once it is approved. `version` counts the changes; the first statement of a change counts it up, which
-- locks the row.
CREATE TABLE reviews (
    id              TEXT    NOT NULL PRIMARY KEY,
    grant_id        TEXT    NOT NULL REFERENCES grants (id),
    session_id      TEXT    NOT NULL REFERENCES sessions (id),
    principal_id    TEXT    NOT NULL REFERENCES principals (id),
    on_behalf_of_id TEXT    REFERENCES principals (id),
    connection      TEXT    NOT NULL,
    access_role     TEXT    NOT NULL,
    key             BLOB    NOT NULL,
    shape           BLOB    NOT NULL,
    literals        TEXT    NOT NULL,
    statement       BLOB    NOT NULL,
    status          TEXT    NOT NULL CHECK (status IN ('pending', 'approved', 'claimed', 'denied', 'expired', 'withdrawn')),
    escalate_at     INTEGER,
    escalate_to     TEXT    NOT NULL,
    escalated_at    INTEGER,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    decided_at      INTEGER,
    for_grant       BOOLEAN NOT NULL,
    decision        TEXT,
    claimed_at      INTEGER,
    uses            INTEGER NOT NULL,
    has_ticket      BOOLEAN NOT NULL,
    because         TEXT,
    version         INTEGER NOT NULL
);
CREATE INDEX reviews_open ON reviews (expires_at) WHERE status IN ('pending', 'approved');
CREATE INDEX reviews_by_key ON reviews (principal_id, key) WHERE status IN ('pending', 'approved');
CREATE INDEX reviews_by_shape ON reviews (grant_id, shape) WHERE status = 'approved' AND for_grant;
CREATE INDEX reviews_by_time ON reviews (created_at);

-- `proposal` is what a reviewer agrees to; NULL where they say no.
CREATE TABLE review_votes (
    review_id   TEXT    NOT NULL REFERENCES reviews (id),
    reviewer_id TEXT    NOT NULL REFERENCES principals (id),
    verdict     TEXT    NOT NULL CHECK (verdict IN ('approve', 'deny')),
    reason      TEXT,
    proposal    TEXT,
    at          INTEGER NOT NULL,
    PRIMARY KEY (review_id, reviewer_id)
);

CREATE TABLE review_comments (
    review_id TEXT    NOT NULL REFERENCES reviews (id),
    author_id TEXT    NOT NULL REFERENCES principals (id),
    at        INTEGER NOT NULL,
    text      TEXT    NOT NULL
);
CREATE INDEX review_comments_by_review ON review_comments (review_id, at);

-- Sessions that have asked and not left: for what they wait, or may claim.
CREATE TABLE review_waits (
    session_id TEXT NOT NULL PRIMARY KEY REFERENCES sessions (id),
    review_id  TEXT NOT NULL REFERENCES reviews (id),
    key        BLOB NOT NULL
);
CREATE INDEX review_waits_by_review ON review_waits (review_id);
