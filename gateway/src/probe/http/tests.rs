mod fuzz;

use super::*;

#[track_caller]
fn check(bytes: &str, expected: Head) {
    assert_eq!(head(bytes.as_bytes()), expected, "{bytes:?}");
}

#[test]
fn the_status_counts_as_soon_as_its_line_is_whole() {
    check("HTTP/1.1 200 OK\r\n", Head::Final(200));
    check("HTTP/1.0 204 No Content\r\n\r\n", Head::Final(204));
    check("HTTP/1.1 503\r\n", Head::Final(503));
    check("HTTP/1.1 200 OK\nServer: x\n\n", Head::Final(200));
    check("HTTP/1.1 301 Moved\r\nLocation: /else\r\n\r\nbody", Head::Final(301));
    check("HTTP/1.1 999 What\r\n", Head::Final(999));
    check("HTTP/1.1 101 Switching Protocols\r\n\r\n", Head::Final(101));
}

#[test]
fn a_part_of_the_line_is_not_enough() {
    let whole = "HTTP/1.1 200 OK\r";
    for end in 0..=whole.len() {
        check(&whole[..end], Head::Partial);
    }
    check("\r\n\r\nHTTP/1.1 2", Head::Partial);
}

#[test]
fn lines_behind_the_status_do_not_matter() {
    check("HTTP/1.1 200 OK\r\nnot a header\r\n", Head::Final(200));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1));
    check(&many, Head::Final(200));
}

#[test]
fn interim_answers_are_passed_over_when_they_are_whole() {
    check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 X\r\n\r\n", Head::Interim(25));
    check("HTTP/1.1 103 Early Hints\r\nLink: x\r\n", Head::Partial);
    check("HTTP/1.1 103 Early Hints\r\nnot a header\r\n\r\n", Head::Garbage);
}

#[test]
fn other_protocols_are_garbage() {
    for other in
        ["SSH-2.0-OpenSSH_9.2\r\n", "+OK\r\n", "HTTP/2 200 OK\r\n", "HTTP/1.1 2x0 OK\r\n", "\0\0\0\0\0\0\0\0\0"]
    {
        check(other, Head::Garbage);
    }
    check("HTTP/1.1 200X\r\n", Head::Garbage);
}
