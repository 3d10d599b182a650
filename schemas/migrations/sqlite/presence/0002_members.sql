-- The nodes that the log shows by their beacons, and for a while those that it says are gone.
CREATE TABLE presence_member (
    node INTEGER NOT NULL,
    -- Its newest beacon, or what said that it is gone.
    seen INTEGER NOT NULL,
    -- Its first beacon, and the log's time of that.
    joined INTEGER NOT NULL,
    joined_ms INTEGER NOT NULL,
    -- Positions: what it has applied, and what it knows to be landed.
    applied INTEGER NOT NULL,
    rolling_hash INTEGER NOT NULL,
    landed INTEGER NOT NULL,
    leaving INTEGER NOT NULL CHECK (leaving IN (0, 1)),
    gone INTEGER NOT NULL CHECK (gone IN (0, 1)),
    name TEXT NOT NULL,
    -- Where other nodes reach it; may be empty.
    peer TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (node)
);
