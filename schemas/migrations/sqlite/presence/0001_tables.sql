-- What apply reads, as rows. Revisions and positions are packed in 64 bits of which the highest is 0, so they compare
-- as they are; other 64-bit numbers keep their bits. Blobs are messages of thuban.change.v1. Names have the same bytes
-- or are different names: BINARY is the collation throughout.
-- The checksum is XXH3-64 of all other cells of its row, as the program reads them: a disk that turns a bit is found out.

-- Up to where the log has landed, and who may land: at most one row.
CREATE TABLE presence_mark (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    epoch INTEGER NOT NULL,
    log_identity BLOB NOT NULL CHECK (length(log_identity) = 16),
    watermark INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    rolling_hash INTEGER NOT NULL,
    checksum INTEGER NOT NULL
);

CREATE TABLE presence_namespace (
    namespace TEXT NOT NULL,
    revision INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    settings BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (namespace)
);

CREATE TABLE presence_service (
    namespace TEXT NOT NULL,
    service TEXT NOT NULL,
    revision INTEGER NOT NULL,
    settings_revision INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    implicit INTEGER NOT NULL CHECK (implicit IN (0, 1)),
    digest BLOB NOT NULL CHECK (length(digest) = 16),
    settings BLOB NOT NULL,
    -- NULL: no instance was ever removed.
    last_removal BLOB,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (namespace, service)
);

-- Rowid tables on purpose: with rows of this size WITHOUT ROWID halves the inserts.
CREATE TABLE presence_instance (
    namespace TEXT NOT NULL,
    service TEXT NOT NULL,
    id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    registered_at_ms INTEGER NOT NULL,
    -- The three parts, by owner: the provider's, the checker's, the operator's (NULL: nothing is set).
    provider BLOB NOT NULL,
    health BLOB NOT NULL,
    operator BLOB,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (namespace, service, id)
);

-- Words of operators that outlived their instance.
CREATE TABLE presence_override (
    namespace TEXT NOT NULL,
    service TEXT NOT NULL,
    id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    operator BLOB NOT NULL,
    -- For this life of this provider only; NULL: for whoever comes.
    only_for BLOB,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (namespace, service, id)
);

CREATE TABLE presence_tombstone (
    namespace TEXT NOT NULL,
    service TEXT NOT NULL,
    id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (namespace, service, id)
);

CREATE TABLE presence_session (
    session BLOB NOT NULL CHECK (length(session) = 16),
    revision INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    node INTEGER NOT NULL,
    grace_ms INTEGER NOT NULL,
    opened_at_ms INTEGER NOT NULL,
    client TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (session)
);

CREATE TABLE presence_suspicion (
    namespace TEXT NOT NULL,
    service TEXT NOT NULL,
    id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    age_ms INTEGER NOT NULL,
    cause BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (namespace, service, id)
);

-- Of all leases of a node (namespace and service are empty), or of one service (node is 0).
CREATE TABLE presence_freeze (
    scope_node INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    service TEXT NOT NULL,
    revision INTEGER NOT NULL,
    node INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    lapsed INTEGER NOT NULL,
    of INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (scope_node, namespace, service)
);

-- Which changes of a node incarnation were applied: all up to `highest` but `gaps`.
CREATE TABLE presence_origin (
    node INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    highest INTEGER NOT NULL,
    -- As an OriginRow.
    gaps BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (node)
);
