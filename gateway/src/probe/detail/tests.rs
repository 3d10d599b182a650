use super::*;

#[test]
fn what_fits_stays_as_it_is() {
    assert_eq!(&*fit("status 503"), "status 503");
    let full = "x".repeat(BYTES_MAX);
    assert_eq!(*fit(&full), *full);
}

#[test]
fn what_is_too_long_is_cut_between_characters() {
    assert_eq!(fit(&"x".repeat(1_000)).len(), BYTES_MAX);
    let wide = format!("x{}", "ü".repeat(200));
    assert_eq!(fit(&wide).len(), BYTES_MAX - 1, "half a character does not count");
}

#[test]
fn control_characters_become_spaces() {
    assert_eq!(&*fit("a\r\nb\0c\u{1b}[31m\u{85}d\te"), "a  b c [31m d e");
}
