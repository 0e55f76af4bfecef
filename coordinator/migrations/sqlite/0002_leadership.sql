-- Under which term an entry was written: so a writer that lost its answer finds out whether its entry is there.
ALTER TABLE journal ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;

-- The terms of leaders are counted here. Who leads is whoever holds the directory's lock.
CREATE TABLE lease (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL
) STRICT;

INSERT INTO lease (id, epoch) VALUES (1, 0);

-- The whole state after entry `seq`, so that a start need not replay what came before.
CREATE TABLE snapshot (
    seq    INTEGER PRIMARY KEY,
    at_ms  INTEGER NOT NULL,
    rules  INTEGER NOT NULL,
    digest BLOB    NOT NULL,
    state  BLOB    NOT NULL
) STRICT;

-- Rounds that are over and have left the coordinator's memory.
CREATE TABLE round (
    run    TEXT    NOT NULL,
    round  INTEGER NOT NULL,
    record TEXT    NOT NULL,
    PRIMARY KEY (run, round)
) STRICT;

-- What all coordinators of a federation have in common.
CREATE TABLE shared (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
