-- Passwords of database roles for connectors that have none of their own. Each is sealed for its connection and
-- login; the key that opens it is not in this database.
CREATE TABLE database_credentials (
    connection TEXT    NOT NULL REFERENCES connections (name) ON DELETE CASCADE,
    login      TEXT    NOT NULL,
    sealed     BYTEA   NOT NULL,
    created_at BIGINT  NOT NULL,
    updated_at BIGINT  NOT NULL,
    PRIMARY KEY (connection, login)
);
