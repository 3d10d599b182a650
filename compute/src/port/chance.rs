//! Chance: session ids, incarnations, jitter. A component, so that a simulation can seed it.

pub trait Chance: Send + Sync + 'static {
    fn bytes(&self) -> [u8; 16];

    fn number(&self) -> u64 {
        let bytes = self.bytes();
        u64::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]])
    }

    /// A number below `end`; 0 when `end` is.
    fn below(&self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.number() % end }
    }
}
