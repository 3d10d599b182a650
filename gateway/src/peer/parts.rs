//! Many ages in several messages.

use compute::port::peers::Age;

use super::AGES_MAX;

/// What the names of one message may come to; the rest of it is as long again at most.
const NAME_BYTES_MAX: usize = 1 << 20;

/// The ages in order, in parts that each make one message; one empty part when there are none.
pub(super) fn parts(mut ages: &[Age]) -> impl Iterator<Item = &[Age]> {
    let mut is_first = true;
    std::iter::from_fn(move || {
        if ages.is_empty() && !is_first {
            return None;
        }
        is_first = false;
        let mut bytes = 0;
        let fits = |age: &&Age| {
            let key = &age.instance;
            bytes += key.service.namespace.as_str().len() + key.service.service.as_str().len() + key.id.as_str().len();
            bytes <= NAME_BYTES_MAX
        };
        let count = ages.iter().take(AGES_MAX).take_while(fits).count();
        let (part, rest) = ages.split_at(count);
        ages = rest;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use compute::model::{InstanceKey, Position};
    use compute::port::peers::Age;

    use super::{AGES_MAX, NAME_BYTES_MAX, parts};

    fn ages(count: usize, id: usize) -> Vec<Age> {
        let generation = Position::new(1, 1).unwrap().at(0);
        let age = |n| {
            let name = format!("{n:0>id$}");
            Age { instance: InstanceKey::new("default", "s", &name).unwrap(), generation, age_ms: 1 }
        };
        (0..count).map(age).collect()
    }

    #[test]
    fn parts_are_whole_in_order_and_bounded() {
        for (count, id) in [(0, 8), (1, 8), (AGES_MAX, 8), (AGES_MAX + 1, 8), (20_000, 200)] {
            let ages = ages(count, id);
            let made: Vec<_> = parts(&ages).collect();
            assert_eq!(made.concat(), ages);
            assert!(made.iter().all(|part| part.len() <= AGES_MAX));
            assert!(made.iter().all(|part| part.len() * (id + 8) <= NAME_BYTES_MAX));
        }
        assert_eq!(parts(&[]).count(), 1);
        assert_eq!(parts(&ages(AGES_MAX + 1, 8)).count(), 2);
    }
}
