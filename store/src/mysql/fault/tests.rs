use std::io;
use std::time::Duration;

use compute::port::store::{LandError, ReadError};

use super::{Fault, Trouble, commit, read, refused};

fn lost() -> Trouble {
    Trouble::Sql(sqlx::Error::Io(io::ErrorKind::ConnectionReset.into()))
}

fn late() -> Trouble {
    Trouble::Late(Duration::from_millis(1_500))
}

#[test]
fn the_numbers_of_errors_mean_what_they_say() {
    for (number, fault) in [
        (1040, Fault::Away),
        (1053, Fault::Away),
        (1205, Fault::Contended),
        (1213, Fault::Contended),
        (1114, Fault::Full),
        (1034, Fault::Corrupt),
        (1146, Fault::Altered),
        (1054, Fault::Altered),
        (1045, Fault::Denied),
        (1142, Fault::Denied),
        (1049, Fault::Denied),
        (1290, Fault::ReadOnly),
        (1064, Fault::Other),
    ] {
        assert_eq!(Fault::of_number(number), fault, "{number}");
    }
}

/// Before the commit nothing is written, whatever happened; from it on only the servers' own word counts.
#[test]
fn a_lost_answer_is_unknown_only_to_the_commit() {
    for trouble in [lost(), late()] {
        assert!(matches!(refused("db", &trouble), LandError::Rejected(_)), "{trouble:?}");
        assert!(matches!(commit("db", &trouble), LandError::Unknown(_)), "{trouble:?}");
        assert!(matches!(read("db", &trouble), ReadError::Away(_)), "{trouble:?}");
    }
}

#[test]
fn a_server_that_is_not_who_it_should_be_is_no_matter_of_waiting() {
    let trouble = Trouble::Sql(sqlx::Error::Io(io::Error::new(io::ErrorKind::InvalidData, "invalid peer certificate")));
    let Err(ReadError::Unusable(text)) = Err::<(), _>(read("db", &trouble)) else { panic!("{trouble:?}") };
    assert!(text.contains("db") && text.contains("invalid peer certificate"), "{text}");
}

#[test]
fn each_trouble_is_told_with_the_place() {
    for (trouble, told) in [
        (late(), "db did not answer within 1500 ms"),
        (Trouble::Crowded(8), "db: all 8 connections are in use"),
        (Trouble::Closed, "db is closed"),
    ] {
        assert_eq!(super::told("db", &trouble), told);
    }
}
