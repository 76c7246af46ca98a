-- A journal as version 1 of its schema wrote it (dumped with sqlite3's iterdump).
BEGIN TRANSACTION;
CREATE TABLE file (
    submission INTEGER NOT NULL REFERENCES submission (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (submission, name)
) STRICT;
INSERT INTO "file" VALUES(5,'a.py',X'FF00');
CREATE TABLE probe (one INTEGER PRIMARY KEY CHECK (one = 1), at REAL NOT NULL) STRICT;
CREATE TABLE submission (
    id INTEGER PRIMARY KEY,
    server TEXT NOT NULL,
    queue TEXT NOT NULL,
    submission_id TEXT NOT NULL,
    body_digest TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('RECEIVED', 'GRADED', 'DELIVERED', 'DEAD')),
    owner TEXT,
    header TEXT NOT NULL,
    payload TEXT NOT NULL,
    response TEXT NOT NULL,
    student_key TEXT NOT NULL,
    random_seed TEXT NOT NULL,
    files TEXT NOT NULL,
    files_here INTEGER NOT NULL,
    problem TEXT NOT NULL,
    submitted_at REAL,
    received_at REAL NOT NULL,
    started_at REAL,
    graded_at REAL,
    closed_at REAL,
    attempts INTEGER NOT NULL,
    handouts INTEGER NOT NULL DEFAULT 1,
    tries INTEGER NOT NULL DEFAULT 0,
    refusals INTEGER NOT NULL DEFAULT 0,
    uncertain INTEGER NOT NULL DEFAULT 0,
    next_try_at REAL NOT NULL DEFAULT 0,
    body TEXT,
    verdict TEXT,
    blame TEXT,
    cause TEXT,
    grader TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    dead_at REAL,
    dead_cause TEXT,
    UNIQUE (server, queue, submission_id, body_digest)
) STRICT;
INSERT INTO "submission" VALUES(1,'s','q','1','1111111111111111111111111111111111111111111111111111111111111111','RECEIVED','q.0#1','{"submission_id": 1, "submission_key": "k1"}','{"grader": "hw1/grader.py"}','x = 1 # é','anna','7','{}',1,'',1789999991.0,1790000001.0,1790000001.0,NULL,NULL,1,1,0,0,0,0.0,NULL,NULL,NULL,NULL,'','',NULL,NULL);
INSERT INTO "submission" VALUES(2,'s','q','2','2222222222222222222222222222222222222222222222222222222222222222','GRADED','q.0#1','{"submission_id": 2, "submission_key": "k2"}','{"grader": "hw1/grader.py"}','x = 1 # é','anna','7','{}',1,'',1789999991.0,1790000002.0,1790000002.0,1790000020.0,NULL,1,1,0,0,0,1790000020.0,'reply 2','correct','learner','LEARNER','hw1/grader.py','',NULL,NULL);
INSERT INTO "submission" VALUES(3,'s','q','3','3333333333333333333333333333333333333333333333333333333333333333','DELIVERED',NULL,'{"submission_id": 3, "submission_key": "k3"}','{"grader": "hw1/grader.py"}','x = 1 # é','anna','7','{}',1,'',1789999991.0,1790000003.0,1790000003.0,1790000030.0,1790000031.0,1,1,0,0,0,1790000030.0,'reply 3','correct','learner','LEARNER','hw1/grader.py','',NULL,NULL);
INSERT INTO "submission" VALUES(4,'s','q','4','4444444444444444444444444444444444444444444444444444444444444444','DEAD',NULL,'{"submission_id": 4, "submission_key": "k4"}','{"grader": "hw1/grader.py"}','x = 1 # é','anna','7','{}',1,'',1789999991.0,1790000004.0,1790000004.0,1790000040.0,1790000046.0,1,1,0,1,0,1790000046.0,'reply 4','ungraded','course','GRADER_BUG','hw1/grader.py','wrong key',1790000046.0,'REPLY_REFUSED');
INSERT INTO "submission" VALUES(5,'s','q','5','5555555555555555555555555555555555555555555555555555555555555555','DELIVERED',NULL,'{"submission_id": 5, "submission_key": "k5"}','{"grader": "hw1/grader.py"}','x = 1 # é','anna','7','{"a.py": "/f/5"}',1,'',1789999991.0,1790000005.0,1790000005.0,1790000050.0,1790000070.0,1,1,1,0,1,1790000060.0,'reply 5','correct','learner','LEARNER','hw1/grader.py','answered 500',NULL,NULL);
CREATE INDEX submission_open ON submission (server, queue, state, next_try_at) WHERE closed_at IS NULL;
CREATE INDEX submission_closed ON submission (closed_at) WHERE closed_at IS NOT NULL;
COMMIT;
PRAGMA user_version = 1;
