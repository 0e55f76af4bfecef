-- What happened, in order; re-applying it gives the coordinator's whole state.
CREATE TABLE journal (
    seq   INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    kind  TEXT    NOT NULL,
    event TEXT    NOT NULL
) STRICT;

-- What people are told about it. Written with the events that caused it, never read back by the coordinator.
CREATE TABLE log (
    seq    INTEGER PRIMARY KEY,
    at_ms  INTEGER NOT NULL,
    run    TEXT,
    round  INTEGER,
    worker TEXT,
    kind   TEXT    NOT NULL,
    text   TEXT    NOT NULL
) STRICT;

CREATE INDEX log_by_run ON log (run, seq);

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta (key, value) VALUES ('created_ms', CAST(CAST(unixepoch('subsec') * 1000 AS INTEGER) AS TEXT));
