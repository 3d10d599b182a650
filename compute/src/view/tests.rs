use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

#[test]
fn each_format_is_made_once_and_kept_apart() {
    let encoded = Encoded::default();
    for _ in 0..2 {
        for name in NAMES {
            assert_eq!(encoded.get(Format(name), || Bytes::from_static(name.as_bytes())), name.as_bytes());
        }
    }
    assert_eq!(encoded.get(Format("a"), || panic!("it is there")), "a");
}

#[test]
fn many_at_once_make_each_format_once() {
    let (encoded, made) = (Encoded::default(), AtomicUsize::new(0));
    thread::scope(|scope| {
        for first in 0..NAMES.len() {
            let (encoded, made) = (&encoded, &made);
            scope.spawn(move || {
                for name in NAMES.iter().cycle().skip(first).take(NAMES.len()) {
                    let make = || {
                        made.fetch_add(1, Ordering::Relaxed);
                        Bytes::from_static(name.as_bytes())
                    };
                    assert_eq!(encoded.get(Format(name), make), name.as_bytes());
                }
            });
        }
    });
    assert_eq!(made.into_inner(), NAMES.len());
}
