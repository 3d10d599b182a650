-- The embedded change log. One row is one append: a frame of many changes, as thuban.change.v1.Frame.

-- Which log this is; written with the tables, never changed.
CREATE TABLE log (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    identity BLOB NOT NULL CHECK (length(identity) = 16),
    generation INTEGER NOT NULL CHECK (generation BETWEEN 1 AND 127)
) STRICT;

-- Numbers have no gap: what is before the first row was trimmed, and the last row is never deleted, so that the next
-- number is known without a counter and none is used twice.
CREATE TABLE frame (
    number INTEGER PRIMARY KEY CHECK (number > 0),
    checksum INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
