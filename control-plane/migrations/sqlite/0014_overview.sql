-- What was run, by the hour: added up as the audit's segments are stored, which hold the statements themselves packed.
CREATE TABLE statement_counts (
    hour         INTEGER NOT NULL,
    principal_id TEXT    NOT NULL,
    connection   TEXT    NOT NULL,
    statements   INTEGER NOT NULL,
    denied       INTEGER NOT NULL,
    masked       INTEGER NOT NULL,
    PRIMARY KEY (hour, principal_id, connection)
);

CREATE INDEX requests_by_time ON requests (created_at);
CREATE INDEX votes_by_time ON votes (at);
CREATE INDEX review_votes_by_time ON review_votes (at);
