-- What happened, in order; re-applying it gives the coordinator's whole state.
CREATE TABLE journal (
    seq   bigint PRIMARY KEY,
    at_ms bigint NOT NULL,
    -- Under which term it was written: so a writer that lost its answer finds out whether its entry is there.
    epoch bigint NOT NULL,
    kind  text   NOT NULL,
    event text   NOT NULL
);

-- What people are told about it. Written with the events that caused it, never read back by the coordinator.
CREATE TABLE log (
    seq    bigint PRIMARY KEY,
    at_ms  bigint NOT NULL,
    run    text,
    round  bigint,
    worker text,
    kind   text   NOT NULL,
    text   text   NOT NULL
);

CREATE INDEX log_by_run ON log (run, seq);

CREATE TABLE meta (
    key   text PRIMARY KEY,
    value text NOT NULL
);

INSERT INTO meta (key, value)
    VALUES ('created_ms', ((extract(epoch FROM clock_timestamp()) * 1000)::bigint)::text);

-- One row. Who leads holds it until `expires_ms`, by this server's clock; each new term has a greater `epoch`, and
-- a write to the journal locks the row's key, so that a write of one term and the beginning of the next never overlap. That
-- `epoch` is a key lets the lease be renewed meanwhile.
CREATE TABLE lease (
    id         bigint PRIMARY KEY CHECK (id = 1),
    epoch      bigint NOT NULL UNIQUE,
    holder     text   NOT NULL,
    since_ms   bigint NOT NULL,
    expires_ms bigint NOT NULL
);

INSERT INTO lease (id, epoch, holder, since_ms, expires_ms) VALUES (1, 0, '', 0, 0);

-- The coordinators, and when each last said that it is there.
CREATE TABLE member (
    id       text   PRIMARY KEY,
    endpoint text   NOT NULL,
    peer     text   NOT NULL,
    version  text   NOT NULL,
    seen_ms  bigint NOT NULL
);

-- The whole state after entry `seq`, so that a start need not replay what came before.
CREATE TABLE snapshot (
    seq    bigint PRIMARY KEY,
    at_ms  bigint NOT NULL,
    rules  bigint NOT NULL,
    digest bytea  NOT NULL,
    state  bytea  NOT NULL
);

-- Rounds that are over and have left the coordinator's memory.
CREATE TABLE round (
    run    text   NOT NULL,
    round  bigint NOT NULL,
    record text   NOT NULL,
    PRIMARY KEY (run, round)
);

-- What all coordinators of a federation have in common.
CREATE TABLE shared (
    key   text  PRIMARY KEY,
    value bytea NOT NULL
);
