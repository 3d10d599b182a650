//! What was once written stays readable: the bytes in `golden/` were made when their format was new, and are never made
//! again. A newer format adds a file.

mod frame_1;
mod members_1;
mod rows_1;

use std::fmt::Debug;

use prost::Message;

/// That the bytes in `text` (hexadecimal; a line that begins with # is a comment) read as `expected`, and that this
/// build writes the same.
fn check<T: Message + Default + PartialEq + Debug>(text: &str, expected: &T) {
    let written = expected.encode_to_vec();
    let kept = bytes(text);
    assert_eq!(T::decode(&*kept).as_ref(), Ok(expected), "this build writes:\n{}", hex(&written));
    assert_eq!(hex(&kept), hex(&written));
}

fn bytes(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::chars)
        .map(|c| c.to_digit(16).expect("a hexadecimal digit"))
        .collect();
    digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | *digit as u8)).collect()
}

fn hex(bytes: &[u8]) -> String {
    let line = |chunk: &[u8]| chunk.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    bytes.chunks(40).map(line).collect::<Vec<_>>().join("\n")
}
