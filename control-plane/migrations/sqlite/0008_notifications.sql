-- Where people are told of events, as applied. A receiver that wants no more is disabled.
CREATE TABLE notifications (
    name             TEXT    NOT NULL PRIMARY KEY,
    document         TEXT    NOT NULL,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    disabled_at      INTEGER,
    disabled_because TEXT
);

-- One message to one receiver, written in the transaction of the event. `thread` is what it is about: of one thread
-- one message is under way at a time, in the order of `seq`. While it is, `next_at` is when whoever has it has lost it.
CREATE TABLE notification_deliveries (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL UNIQUE,
    notification TEXT    NOT NULL REFERENCES notifications (name) ON DELETE CASCADE,
    thread       TEXT    NOT NULL,
    event        TEXT    NOT NULL,
    subject      TEXT    NOT NULL,
    message      TEXT    NOT NULL,
    status       TEXT    NOT NULL,
    attempts     INTEGER NOT NULL,
    next_at      INTEGER NOT NULL,
    error        TEXT,
    created_at   INTEGER NOT NULL,
    done_at      INTEGER
);
CREATE INDEX notification_deliveries_due ON notification_deliveries (next_at) WHERE status = 'queued';
CREATE INDEX notification_deliveries_by_thread ON notification_deliveries (notification, thread, seq);
CREATE INDEX notification_deliveries_done ON notification_deliveries (status, done_at);

-- The message in Slack that shows how something stands: it is changed, not followed by others.
CREATE TABLE slack_messages (
    notification TEXT NOT NULL REFERENCES notifications (name) ON DELETE CASCADE,
    thread       TEXT NOT NULL,
    channel      TEXT NOT NULL,
    ts           TEXT NOT NULL,
    PRIMARY KEY (notification, thread)
);
