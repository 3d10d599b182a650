use rand::Rng;

/// The machine's own chance: tokens are made of it, so it must be unguessable.
pub(crate) struct SystemChance;

impl compute::port::Chance for SystemChance {
    #[allow(clippy::disallowed_methods, reason = "the one place that takes chance from the machine")]
    fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        rand::rng().fill_bytes(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests;
