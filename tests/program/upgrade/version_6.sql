-- A queue of version 0.1: one job is done, one is held. Made by that version, and dumped.
PRAGMA application_id = 1282371175;
PRAGMA user_version = 6;
BEGIN TRANSACTION;
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    state TEXT NOT NULL CHECK (state IN ('held', 'delayed', 'ready', 'running', 'done', 'dead', 'cancelled')),
    tube TEXT NOT NULL,
    host TEXT NOT NULL,
    priority INTEGER NOT NULL,
    algorithm TEXT NOT NULL,
    submitted_at INTEGER NOT NULL,
    ready_at INTEGER NOT NULL,
    expires_at INTEGER,
    unique_key TEXT,
    unique_until INTEGER,
    seed_pinned INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    kicks INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    uncounted INTEGER NOT NULL DEFAULT 0,
    worker BLOB,
    started_at INTEGER,
    finished_at INTEGER,
    verdict TEXT,
    published INTEGER,
    progress REAL,
    progress_message TEXT, submitted_as BLOB CHECK (length(submitted_as) = 32), public_url TEXT,
    CHECK ((state = 'running') = (worker IS NOT NULL))
) STRICT;
INSERT INTO jobs VALUES(1,X'3ab61160e3be4ef09e09c4c79977ec7e','done','default','',1024,'witness',1795958244465,1795958244465,NULL,NULL,NULL,0,3,0,1,0,NULL,1795958244564,1795958244767,'{"kind":"done"}',1,NULL,NULL,NULL,NULL);
INSERT INTO jobs VALUES(2,X'da545ecf73ea4a6ea20f3443d7d1de80','held','default','',1024,'witness',1795958244496,1795958244496,NULL,NULL,NULL,0,3,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE documents (
    seq INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
    json TEXT NOT NULL
) STRICT;
INSERT INTO documents VALUES(1,'{"algorithm":"witness","hold":false,"limits":{},"max_attempts":3,"params":{},"priority":1024,"tags":["old"],"tube":"default"}');
INSERT INTO documents VALUES(2,'{"algorithm":"witness","hold":true,"limits":{},"max_attempts":3,"params":{},"priority":1024,"tags":[],"tube":"default"}');
CREATE TABLE tags (
    tag TEXT NOT NULL,
    seq INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    PRIMARY KEY (tag, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO tags VALUES('old',1);
CREATE TABLE attempts (
    seq INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    worker TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    verdict TEXT,
    usage TEXT, expires_at INTEGER,
    PRIMARY KEY (seq, attempt)
) STRICT, WITHOUT ROWID;
INSERT INTO attempts VALUES(1,1,'vm',1795958244564,1795958244767,'{"kind":"done"}','{"fuel":116261,"peak_memory":1114920,"wall_ms":80.099,"input_bytes":0,"result_bytes":18030}',NULL);
CREATE TABLE workers (
    start BLOB PRIMARY KEY CHECK (length(start) = 16),
    name TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    lease_ms INTEGER NOT NULL CHECK (lease_ms >= 0),
    beat INTEGER NOT NULL DEFAULT 0
, store BLOB CHECK (length(store) = 16), public_url TEXT) STRICT, WITHOUT ROWID;
CREATE TABLE counts (
    tube TEXT NOT NULL,
    host TEXT NOT NULL,
    state TEXT NOT NULL,
    jobs INTEGER NOT NULL CHECK (jobs >= 0),
    PRIMARY KEY (tube, host, state)
) STRICT, WITHOUT ROWID;
INSERT INTO counts VALUES('default','','done',1);
INSERT INTO counts VALUES('default','','held',1);
CREATE TABLE paused (
    tube TEXT PRIMARY KEY,
    since INTEGER NOT NULL,
    until INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE forgotten (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    document BLOB NOT NULL CHECK (length(document) = 32),
    forgotten_at INTEGER NOT NULL
) STRICT;
CREATE TABLE timings (
    tube TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    what TEXT NOT NULL CHECK (what IN ('waited', 'ran')),
    bucket INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    total_ms INTEGER NOT NULL,
    PRIMARY KEY (tube, algorithm, what, bucket)
) STRICT, WITHOUT ROWID;
INSERT INTO timings VALUES('default','witness','ran',44,1,203);
INSERT INTO timings VALUES('default','witness','waited',36,1,99);
CREATE TABLE endings (
    tube TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    verdict TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    PRIMARY KEY (tube, algorithm, verdict)
) STRICT, WITHOUT ROWID;
INSERT INTO endings VALUES('default','witness','done',1);
CREATE TABLE deliveries (
    seq INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    store BLOB NOT NULL CHECK (length(store) = 16),
    url TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'given-up')),
    tries INTEGER NOT NULL DEFAULT 0,
    since INTEGER NOT NULL,
    next_at INTEGER,
    finished_at INTEGER,
    reason TEXT,
    PRIMARY KEY (seq, attempt)
) STRICT, WITHOUT ROWID;
CREATE TABLE placed (
    seq INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
    server TEXT NOT NULL,
    number INTEGER NOT NULL,
    body BLOB NOT NULL CHECK (length(body) = 32),
    reserves INTEGER NOT NULL,
    releases INTEGER NOT NULL,
    timeouts INTEGER NOT NULL,
    kicks INTEGER NOT NULL
, missed_at INTEGER) STRICT;
CREATE TABLE settling (
    seq INTEGER PRIMARY KEY REFERENCES placed ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    decision TEXT NOT NULL CHECK (decision IN ('finish', 'retry', 'bury', 'cancel')),
    wait_ms INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    usage TEXT NOT NULL,
    published INTEGER NOT NULL,
    committed INTEGER NOT NULL DEFAULT 0
, instance INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE unreadable (
    server TEXT NOT NULL,
    number INTEGER NOT NULL,
    tube TEXT NOT NULL,
    length INTEGER NOT NULL,
    excerpt TEXT NOT NULL,
    reason TEXT NOT NULL,
    worker TEXT NOT NULL,
    found_at INTEGER NOT NULL,
    PRIMARY KEY (server, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE serving (
    start BLOB PRIMARY KEY CHECK (length(start) = 16),
    server TEXT NOT NULL,
    name TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    lease_ms INTEGER NOT NULL,
    beat_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE elsewhere (
    host TEXT PRIMARY KEY,
    jobs INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('jobs',2);
CREATE INDEX jobs_ready ON jobs (tube, host, priority, seq) WHERE state = 'ready';
CREATE INDEX jobs_unique ON jobs (unique_key, unique_until) WHERE unique_key IS NOT NULL;
CREATE INDEX jobs_running ON jobs (worker) WHERE worker IS NOT NULL;
CREATE INDEX tags_seq ON tags (seq);
CREATE TRIGGER jobs_inserted AFTER INSERT ON jobs BEGIN
    INSERT INTO counts VALUES (new.tube, new.host, new.state, 1) ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER jobs_deleted AFTER DELETE ON jobs BEGIN
    UPDATE counts SET jobs = jobs - 1 WHERE tube = old.tube AND host = old.host AND state = old.state;
END;
CREATE TRIGGER jobs_moved AFTER UPDATE OF state, tube, host ON jobs
    WHEN old.state <> new.state OR old.tube <> new.tube OR old.host <> new.host BEGIN
    UPDATE counts SET jobs = jobs - 1 WHERE tube = old.tube AND host = old.host AND state = old.state;
    INSERT INTO counts VALUES (new.tube, new.host, new.state, 1) ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;
CREATE INDEX paused_until ON paused (until) WHERE until IS NOT NULL;
CREATE INDEX deliveries_due ON deliveries (store, next_at) WHERE state = 'pending';
CREATE INDEX placed_number ON placed (server, number);
CREATE INDEX unreadable_found ON unreadable (server, found_at);
CREATE INDEX jobs_state ON jobs (state) WHERE unicode(host) IS NOT 1;
CREATE INDEX jobs_delayed ON jobs (ready_at, priority) WHERE state = 'delayed' AND unicode(host) IS NOT 1;
CREATE INDEX jobs_expiring ON jobs (expires_at, host) WHERE expires_at IS NOT NULL AND unicode(host) IS NOT 1;
CREATE INDEX jobs_ended ON jobs (state, finished_at, seq, host)
    WHERE finished_at IS NOT NULL AND unicode(host) IS NOT 1;
CREATE INDEX placed_ended ON jobs (host, state, finished_at, seq)
    WHERE finished_at IS NOT NULL AND unicode(host) IS 1;
CREATE TRIGGER jobs_placed AFTER INSERT ON jobs WHEN unicode(new.host) IS 1 BEGIN
    INSERT INTO elsewhere VALUES (new.host, 1) ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER counts_none AFTER UPDATE OF jobs ON counts WHEN new.jobs = 0 BEGIN
    DELETE FROM counts WHERE tube = new.tube AND host = new.host AND state = new.state;
END;
COMMIT;
