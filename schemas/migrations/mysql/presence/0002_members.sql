-- The nodes that the log shows by their beacons, and for a while those that it says are gone.
CREATE TABLE IF NOT EXISTS `presence_member` (
    `node` BIGINT NOT NULL,
    -- Its newest beacon, or what said that it is gone.
    `seen` BIGINT NOT NULL,
    -- Its first beacon, and the log's time of that.
    `joined` BIGINT NOT NULL,
    `joined_ms` BIGINT NOT NULL,
    -- Positions: what it has applied, and what it knows to be landed.
    `applied` BIGINT NOT NULL,
    `rolling_hash` BIGINT NOT NULL,
    `landed` BIGINT NOT NULL,
    `leaving` BIGINT NOT NULL,
    `gone` BIGINT NOT NULL,
    `name` BLOB NOT NULL,
    -- Where other nodes reach it; may be empty.
    `peer` BLOB NOT NULL,
    `checksum` BIGINT NOT NULL,
    PRIMARY KEY (`node`)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
