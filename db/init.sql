-- The schema, for MySQL 8.4 and MariaDB 10.11. Applied by the MySQL image when its volume is empty.
-- Both services map these columns; a test compares. Times are UTC, written from the database's clock.
-- Ids and keys are ASCII compared byte by byte: the default collations call 'A' and 'á' equal.

CREATE TABLE IF NOT EXISTS tasks (
    id               VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    title            VARCHAR(255) NOT NULL,
    description      TEXT NOT NULL,
    status           ENUM('PENDING', 'PROCESSING', 'COMPLETED', 'FAILED', 'CANCELLED')
                     NOT NULL DEFAULT 'PENDING',
    metadata         JSON,
    created_at       TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
    updated_at       TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)
                     ON UPDATE CURRENT_TIMESTAMP(3),
    completed_at     TIMESTAMP(3) NULL DEFAULT NULL,
    -- what runs it, how soon, how often
    type             VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin
                     NOT NULL DEFAULT 'simulate',
    priority         TINYINT NOT NULL DEFAULT 1,    -- 0 high, 1 normal, 2 low
    run_at           DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
    max_attempts     INT NULL,                      -- NULL: the worker's MAX_ATTEMPTS
    timeout_seconds  INT NULL,
    -- how it went so far: attempt is the fence and only grows
    attempt          INT NOT NULL DEFAULT 0,
    errors           INT NOT NULL DEFAULT 0,
    crashes          INT NOT NULL DEFAULT 0,
    worker_id        VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NULL,
    started_at       DATETIME(3) NULL,
    cancel_requested BOOLEAN NOT NULL DEFAULT FALSE,
    progress         TINYINT NULL,
    progress_note    VARCHAR(255) NULL,
    result           JSON,
    error            TEXT NULL,
    -- whence it came and who wants to know
    idempotency_key  VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NULL,
    request_hash     VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    callback_url     TEXT NULL,
    traceparent      VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    submitted_by     VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,  -- name of the API key
    UNIQUE KEY tasks_idempotency_key (idempotency_key),
    KEY tasks_due (status, priority, run_at),
    -- type comes last in these two: webhooks are left out without a look at the row
    KEY tasks_changed (status, updated_at, type),
    -- lists: each combination of these is a walk from the newest id (a UUIDv7) backwards
    KEY tasks_listed (status, priority, id, type),
    KEY tasks_typed (type, status, priority, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

-- A row: this task's message is still to be sent, once due_at (= tasks.run_at) has come.
CREATE TABLE IF NOT EXISTS outbox (
    task_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    due_at  DATETIME(3) NOT NULL,
    handed  BOOLEAN NOT NULL DEFAULT FALSE,         -- a relay was given it at submission
    KEY outbox_due (due_at)
) ENGINE = InnoDB;

-- The ledger of attempts that did not succeed; a success is in the task's row.
CREATE TABLE IF NOT EXISTS attempts (
    task_id     VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    attempt     INT NOT NULL,
    worker_id   VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NULL,
    started_at  DATETIME(3) NULL,
    finished_at DATETIME(3) NOT NULL,
    outcome     ENUM('error', 'timeout', 'worker_lost', 'cancelled', 'released') NOT NULL,
    error       TEXT NULL,
    traceback   TEXT NULL,
    PRIMARY KEY (task_id, attempt)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

-- One row a worker process: the lease of all its tasks, alive while beat grows.
CREATE TABLE IF NOT EXISTS workers (
    id          VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    host        VARCHAR(255) NOT NULL,
    pid         INT NOT NULL,
    started     DATETIME(3) NOT NULL,
    beat        BIGINT NOT NULL DEFAULT 0,
    beat_at     DATETIME(3) NOT NULL,               -- for people: nobody is buried by it
    lease_seconds DOUBLE NOT NULL,
    max_attempts INT NOT NULL,                      -- where neither task nor type says
    concurrency INT NOT NULL,
    busy        INT NOT NULL DEFAULT 0,
    processed   BIGINT NOT NULL DEFAULT 0,          -- attempts that ended, well or not
    failed      BIGINT NOT NULL DEFAULT 0,          -- of these, errors and time-outs
    types       JSON NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

-- What the workers can run; written by them at start.
CREATE TABLE IF NOT EXISTS task_types (
    name            VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    description     TEXT NULL,
    payload_schema  JSON NULL,
    max_attempts    INT NULL,
    timeout_seconds INT NULL,
    updated_at      DATETIME(3) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

-- How many tasks came and ended in a minute. Written when statistics are asked for.
CREATE TABLE IF NOT EXISTS task_minutes (
    minute    DATETIME(3) NOT NULL PRIMARY KEY,     -- its beginning
    submitted INT NOT NULL,
    completed INT NOT NULL,
    failed    INT NOT NULL,
    cancelled INT NOT NULL
) ENGINE = InnoDB;
