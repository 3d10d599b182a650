//! Every limit of the registry's vocabulary, named once. The contract (`docs` of the API) quotes these numbers.

/// Longest namespace, service or instance id, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest host: a DNS name or an IP address, in bytes.
pub const HOST_BYTES_MAX: usize = 253;
/// Longest zone, region, version or protocol, in bytes.
pub const LABEL_BYTES_MAX: usize = 128;
/// Longest incarnation that a provider may name, in bytes.
pub const INCARNATION_BYTES_MAX: usize = 128;
/// Most metadata keys of one instance, service or namespace.
pub const METADATA_KEYS_MAX: usize = 64;
/// Longest metadata key, in bytes.
pub const METADATA_KEY_BYTES_MAX: usize = 128;
/// Longest metadata value, in bytes.
pub const METADATA_VALUE_BYTES_MAX: usize = 1024;
/// All metadata of one owner together, keys and values, in bytes.
pub const METADATA_BYTES_MAX: usize = 16 * 1024;
/// Most named ports of one instance, beside its main port.
pub const PORTS_MAX: usize = 16;
/// Longest name of a named port, in bytes.
pub const PORT_NAME_BYTES_MAX: usize = 128;
/// Largest weight.
pub const WEIGHT_MAX: u32 = 10_000;
/// Weight of an instance that names none.
pub const WEIGHT_DEFAULT: u16 = 100;
/// Shortest lease time, and shortest time to removal.
pub const LEASE_MS_MIN: u64 = 1_000;
/// Longest lease time, and longest time to removal.
pub const LEASE_MS_MAX: u64 = 86_400_000;
/// TTL of a lease that names none.
pub const TTL_MS_DEFAULT: u32 = 15_000;
/// Time from unhealthy to removed of a lease that names none.
pub const REMOVE_AFTER_MS_DEFAULT: u32 = 30_000;
/// Bounds and defaults of a health check.
pub const CHECK_INTERVAL_MS_MIN: u64 = 1_000;
pub const CHECK_INTERVAL_MS_MAX: u64 = 3_600_000;
pub const CHECK_INTERVAL_MS_DEFAULT: u32 = 5_000;
pub const CHECK_TIMEOUT_MS_MIN: u64 = 50;
pub const CHECK_TIMEOUT_MS_MAX: u64 = 60_000;
pub const CHECK_TIMEOUT_MS_DEFAULT: u32 = 1_000;
pub const CHECK_COUNT_MAX: u64 = 100;
pub const CHECK_FAILURES_DEFAULT: u8 = 3;
pub const CHECK_SUCCESSES_DEFAULT: u8 = 1;
/// Longest path of an HTTP check or service name of a gRPC check, in bytes.
pub const CHECK_TARGET_BYTES_MAX: usize = 1024;
/// Longest note of an operator, description or owner, in bytes.
pub const NOTE_BYTES_MAX: usize = 1024;
/// Longest time that an operator's word may outlive its instance: 7 days.
pub const KEEP_MS_MAX: u64 = 7 * 86_400_000;
/// An operator's word is kept this long after an expiry, for the same incarnation only.
pub const KEEP_AFTER_EXPIRY_MS: u64 = 600_000;
/// Furthest that a kept word's end may be ahead of this registry's time: the longest that it may be kept, and a day for
/// the clock of the registry that it was moved from.
pub const KEPT_AHEAD_MS_MAX: u64 = KEEP_MS_MAX + 86_400_000;
/// Most words of operators that outlive their instances. Beyond it none is taken, and what is removed leaves none.
pub const OVERRIDES_MAX: usize = 100_000;
/// A service that a register made is collected when it was empty this long, in log time.
pub const SERVICE_EMPTY_MS_MAX: u64 = 86_400_000;
/// Grace of a lost session: bounds and default.
pub const SESSION_GRACE_MS_MIN: u64 = 1_000;
pub const SESSION_GRACE_MS_MAX: u64 = 300_000;
pub const SESSION_GRACE_MS_DEFAULT: u32 = 10_000;
/// Longest name that a client gives itself, in bytes.
pub const CLIENT_NAME_BYTES_MAX: usize = 255;
/// Longest name of a node, in bytes.
pub const NODE_NAME_BYTES_MAX: usize = 255;
/// Longest address at which other nodes reach a node, in bytes: a host, a colon and a port.
pub const PEER_BYTES_MAX: usize = HOST_BYTES_MAX + 6;
/// Most items of one batch.
pub const BATCH_ITEMS_MAX: usize = 1_000;
/// Most changes of one frame of the log.
pub const FRAME_CHANGES_MAX: usize = 4_096;
/// Heaviest frame of the log, as `Frame::weight` counts, and longest as any log encodes it, in bytes.
pub const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A removal is remembered for this many log positions; a base older than that is refused.
pub const TOMBSTONE_POSITIONS: u64 = 10_000;
/// An origin that has been silent for this many log positions is forgotten.
pub const ORIGIN_POSITIONS: u64 = 1_000_000;
/// Most gaps remembered of one origin; beyond it the oldest counts as applied, so it can never apply late.
pub const ORIGIN_GAPS_MAX: usize = 4_096;
/// Most namespaces.
pub const NAMESPACES_MAX: usize = 10_000;
/// Longest wait of a conditional read.
pub const WAIT_MS_MAX: u64 = 60_000;
/// Longest wait for a revision that this node has not applied yet.
pub const BEHIND_MS_MAX: u64 = 5_000;
/// Longest wait for what the bearer of a tag has seen on another node.
pub const CATCH_UP_MS_MAX: u64 = 500;
