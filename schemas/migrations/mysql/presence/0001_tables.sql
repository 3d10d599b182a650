-- What apply reads, as rows. Revisions and positions are packed in 64 bits of which the highest is 0, so they compare
-- as they are; other 64-bit numbers keep their bits. Blobs are messages of thuban.change.v1. Names are VARBINARY: they
-- have the same bytes or are different names, in this order on every server, whatever its collation.
-- The checksum is XXH3-64 of all other cells of its row, as the program reads them: a disk that turns a bit is found out.

-- Up to where the log has landed, and who may land: at most one row. Whoever writes locks it first.
CREATE TABLE IF NOT EXISTS `presence_mark` (
    `only_row` BIGINT NOT NULL CHECK (`only_row` = 1),
    `epoch` BIGINT NOT NULL,
    `log_identity` VARBINARY(16) NOT NULL,
    `watermark` BIGINT NOT NULL,
    `time_ms` BIGINT NOT NULL,
    `rolling_hash` BIGINT NOT NULL,
    `checksum` BIGINT NOT NULL,
    PRIMARY KEY (`only_row`)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE IF NOT EXISTS `presence_namespace` (
    `namespace` VARBINARY(255) NOT NULL,
    `revision` BIGINT NOT NULL,
    `created_at_ms` BIGINT NOT NULL,
    `settings` MEDIUMBLOB NOT NULL,
    `checksum` BIGINT NOT NULL,
    PRIMARY KEY (`namespace`)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE IF NOT EXISTS `presence_service` (
    `namespace` VARBINARY(255) NOT NULL,
    `service` VARBINARY(255) NOT NULL,
    `revision` BIGINT NOT NULL,
    `settings_revision` BIGINT NOT NULL,
    `created_at_ms` BIGINT NOT NULL,
    `implicit` BIGINT NOT NULL,
    `digest` VARBINARY(16) NOT NULL,
    `settings` MEDIUMBLOB NOT NULL,
    -- NULL: no instance was ever removed.
    `last_removal` MEDIUMBLOB,
    `checksum` BIGINT NOT NULL,
    PRIMARY KEY (`namespace`, `service`)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Clustered by its key and without any other index: a landing is sorted by the key, so it visits each page once.
CREATE TABLE IF NOT EXISTS `presence_instance` (
    `namespace` VARBINARY(255) NOT NULL,
    `service` VARBINARY(255) NOT NULL,
    `id` VARBINARY(255) NOT NULL,
    `generation` BIGINT NOT NULL,
    `revision` BIGINT NOT NULL,
    `registered_at_ms` BIGINT NOT NULL,
    -- The three parts, by owner: the provider's, the checker's, the operator's (NULL: nothing is set).
    `provider` MEDIUMBLOB NOT NULL,
    `health` MEDIUMBLOB NOT NULL,
    `operator` MEDIUMBLOB,
    `checksum` BIGINT NOT NULL,
    PRIMARY KEY (`namespace`, `service`, `id`)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Words of operators that outlived their instance.
CREATE TABLE IF NOT EXISTS `presence_override` (
    `namespace` VARBINARY(255) NOT NULL,
    `service` VARBINARY(255) NOT NULL,
    `id` VARBINARY(255) NOT NULL,
    `revision` BIGINT NOT NULL,
    `until_ms` BIGINT NOT NULL,
    `operator` MEDIUMBLOB NOT NULL,
    -- For this life of this provider only; NULL: for whoever comes.
    `only_for` MEDIUMBLOB,
    `checksum` BIGINT NOT NULL,
    PRIMARY KEY (`namespace`, `service`, `id`)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE IF NOT EXISTS `presence_tombstone` (
    `namespace` VARBINARY(255) NOT NULL,
    `service` VARBINARY(255) NOT NULL,
    `id` VARBINARY(255) NOT NULL,
    `generation` BIGINT NOT NULL,
    `revision` BIGINT NOT NULL,
    `checksum` BIGINT NOT NULL,
    PRIMARY KEY (`namespace`, `service`, `id`)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE IF NOT EXISTS `presence_session` (
    `session` VARBINARY(16) NOT NULL,
    `revision` BIGINT NOT NULL,
    `epoch` BIGINT NOT NULL,
    `node` BIGINT NOT NULL,
    `grace_ms` BIGINT NOT NULL,
    `opened_at_ms` BIGINT NOT NULL,
    `client` BLOB NOT NULL,
    `checksum` BIGINT NOT NULL,
    PRIMARY KEY (`session`)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE IF NOT EXISTS `presence_suspicion` (
    `namespace` VARBINARY(255) NOT NULL,
    `service` VARBINARY(255) NOT NULL,
    `id` VARBINARY(255) NOT NULL,
    `generation` BIGINT NOT NULL,
    `revision` BIGINT NOT NULL,
    `age_ms` BIGINT NOT NULL,
    `cause` MEDIUMBLOB NOT NULL,
    `checksum` BIGINT NOT NULL,
    PRIMARY KEY (`namespace`, `service`, `id`)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Of all leases of a node (namespace and service are empty), or of one service (node is 0).
CREATE TABLE IF NOT EXISTS `presence_freeze` (
    `scope_node` BIGINT NOT NULL,
    `namespace` VARBINARY(255) NOT NULL,
    `service` VARBINARY(255) NOT NULL,
    `revision` BIGINT NOT NULL,
    `node` BIGINT NOT NULL,
    `since_ms` BIGINT NOT NULL,
    `lapsed` BIGINT NOT NULL,
    `of` BIGINT NOT NULL,
    `checksum` BIGINT NOT NULL,
    PRIMARY KEY (`scope_node`, `namespace`, `service`)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Which changes of a node incarnation were applied: all up to `highest` but `gaps`.
CREATE TABLE IF NOT EXISTS `presence_origin` (
    `node` BIGINT NOT NULL,
    `last_seen` BIGINT NOT NULL,
    `highest` BIGINT NOT NULL,
    -- As an OriginRow.
    `gaps` MEDIUMBLOB NOT NULL,
    `checksum` BIGINT NOT NULL,
    PRIMARY KEY (`node`)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
