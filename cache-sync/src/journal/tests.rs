use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use compute::model::Position;
use compute::port::Journal as _;
use compute::port::journal::{Raised, Record};
use compute::state::{Refusal, Verdict};
use compute::testing::script::{IDENTITY, Script};

use super::segments::{Segments, numbers, path};
use super::{Config, FileJournal, Follower, Found, OpenError, ReadError, record};

const MIB: u64 = 1 << 20;

fn config(folder: &Path, bytes_max: u64) -> Config {
    Config { directory: folder.join("journal"), bytes_max }
}

const REFUSALS: [Refusal; 10] = [
    Refusal::Base,
    Refusal::BaseTooOld,
    Refusal::Generation,
    Refusal::Suspicion,
    Refusal::Already,
    Refusal::Epoch,
    Refusal::Absent,
    Refusal::NotEmpty,
    Refusal::Gone,
    Refusal::Barrier,
];

/// Records of every kind, and among them verdicts of every kind.
fn records() -> Vec<Record> {
    let mut records = vec![Record::Begun { log: IDENTITY, at: Position::ZERO }];
    for seed in [3, 4] {
        let mut script = Script::new(seed);
        (0..300).for_each(|_| drop(script.step()));
        records.extend(script.journal().records());
    }
    let mut turns = REFUSALS.into_iter().cycle().map(Verdict::Refused);
    for record in &mut records {
        let Record::Decided(decided) = record else { continue };
        let refused = decided.verdicts.iter_mut().filter(|verdict| matches!(verdict, Verdict::Refused(_)));
        refused.zip(&mut turns).for_each(|(verdict, turn)| *verdict = turn);
    }
    let next = Position::new(96, 7).expect("in range");
    let from = Position::new(1, 300).expect("in range");
    records.push(Record::Raised(Raised { log: IDENTITY, from, next, is_lifted: true }));
    records.push(Record::Lost { frames: 12 });
    records
}

fn words(record: &Record) -> String {
    format!("{record:?}")
}

fn written(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    records.iter().for_each(|record| record::put(&mut bytes, record).expect("what a log holds"));
    bytes
}

/// What a follower finds, in words.
fn found(follower: &mut Follower) -> Vec<String> {
    let mut found = Vec::new();
    let all = follower.read(|one| {
        found.push(match one {
            Found::Record(record) => words(&record),
            other => format!("{other:?}"),
        });
    });
    all.expect("readable");
    found
}

fn hand(journal: &FileJournal, records: &[Record]) {
    for record in records {
        match record {
            Record::Begun { log, at } => journal.begun(*log, *at),
            Record::Decided(decided) => journal.record(&decided.entry, &decided.verdicts),
            Record::Raised(raised) => journal.raised(*raised),
            Record::Lost { .. } => {}
        }
    }
}

#[tokio::test]
async fn what_is_handed_over_is_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(folder.path(), 64 * MIB);
    let mut records = records();
    records.pop();
    let mut follower = Follower::of(config.directory.clone());
    assert_eq!(found(&mut follower), [""; 0], "there is none yet");
    let journal = FileJournal::open(&config).expect("made");
    hand(&journal, &records);
    journal.close().await;
    let wanted: Vec<_> = records.iter().map(words).collect();
    let refusals = REFUSALS.map(|why| format!("{:?}", Verdict::Refused(why)));
    for kind in refusals.iter().map(String::as_str).chain(["Applied(", "Duplicate"]) {
        assert!(wanted.iter().any(|words| words.contains(kind)), "no {kind} was among them");
    }
    assert_eq!(found(&mut follower), wanted);

    // The next process goes on in a file of its own.
    drop(journal);
    let journal = FileJournal::open(&config).expect("there");
    hand(&journal, &records[..3]);
    journal.close().await;
    assert_eq!(found(&mut follower), wanted[..3]);
    assert_eq!(numbers(&config.directory).expect("listed"), [1, 2]);
}

#[test]
fn every_record_is_read_back_as_it_was() {
    for record in records() {
        let bytes = written(std::slice::from_ref(&record));
        let (head, payload) = bytes.split_first_chunk().expect("a head");
        let (length, hash) = record::head(*head).expect("a head");
        assert_eq!(length, payload.len());
        assert_eq!(words(&record::parse(payload, hash).expect("whole")), words(&record));
        record::parse(payload, hash ^ 1).expect_err("another hash");
    }
}

#[test]
fn a_torn_end_is_said_and_the_next_process_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(folder.path(), 64 * MIB);
    let records = records();
    let mut segments = Segments::take(&config).expect("made");
    segments.write(&written(&records[..4])).expect("written");
    drop(segments);
    let tail = written(&records[4..5]);
    let mut file = OpenOptions::new().append(true).open(path(&config.directory, 1)).expect("there");
    file.write_all(&tail[..tail.len() - 1]).expect("written");
    let mut follower = Follower::of(config.directory.clone());
    assert_eq!(found(&mut follower), records[..4].iter().map(words).collect::<Vec<_>>(), "not whole yet");
    // It becomes whole.
    file.write_all(&tail[tail.len() - 1..]).expect("written");
    assert_eq!(found(&mut follower), [words(&records[4])]);
    // It never does.
    file.write_all(&tail[..20]).expect("written");
    assert_eq!(found(&mut follower), [""; 0]);
    let mut segments = Segments::take(&config).expect("there");
    segments.write(&written(&records[..1])).expect("written");
    assert_eq!(found(&mut follower), ["Torn { bytes: 20 }".to_owned(), words(&records[0])]);
}

#[test]
fn it_is_bounded_and_says_what_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(folder.path(), 8 * 64 * 1024);
    let batch = written(&records());
    assert!((8 * 1024..64 * 1024).contains(&batch.len()), "{} bytes", batch.len());
    let mut segments = Segments::take(&config).expect("made");
    let batches = 3 * config.bytes_max / batch.len() as u64;
    for _ in 0..batches {
        segments.write(&batch).expect("written");
        let all = numbers(&config.directory).expect("listed");
        let length = |number: &u64| path(&config.directory, *number).metadata().expect("there").len();
        let bytes: u64 = all.iter().map(length).sum();
        assert!(bytes <= config.bytes_max + batch.len() as u64, "{bytes} bytes");
    }
    drop(segments);
    let first = numbers(&config.directory).expect("listed")[0];
    assert!(first > 1, "nothing had to go");
    let mut all = found(&mut Follower::of(config.directory.clone()));
    assert_eq!(all.remove(0), format!("{:?}", Found::Missing { segments: first - 1 }));
    assert_eq!(all.len() % records().len(), 0, "each batch is there whole or not at all");

    // What an earlier process left counts, too.
    let mut segments = Segments::take(&config).expect("there");
    segments.write(&batch).expect("written");
    assert!(numbers(&config.directory).expect("listed")[0] >= first);
}

#[test]
fn who_reads_on_is_told_of_segments_that_went_meanwhile() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(folder.path(), 64 * MIB);
    let batch = written(&records()[..1]);
    let begin = || Segments::take(&config).expect("there").write(&batch).expect("written");
    begin();
    let mut follower = Follower::of(config.directory.clone());
    assert_eq!(found(&mut follower).len(), 1);
    begin();
    begin();
    std::fs::remove_file(path(&config.directory, 2)).expect("there");
    assert_eq!(found(&mut follower)[0], "Missing { segments: 1 }");
}

#[test]
fn a_directory_belongs_to_one_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(folder.path(), 64 * MIB);
    let _held = FileJournal::open(&config).expect("made");
    assert!(matches!(FileJournal::open(&config), Err(OpenError::InUse { .. })));
    std::fs::write(folder.path().join("file"), "").expect("written");
    let other = Config { directory: folder.path().join("file"), ..config };
    assert!(matches!(FileJournal::open(&other), Err(OpenError::Unmade { .. })));
}

/// A journal that can't be written stops nobody, and says afterwards how much is missing.
#[tokio::test]
async fn what_could_not_be_written_is_counted_in_the_journal() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(folder.path(), 64 * MIB);
    let records = records();
    let journal = FileJournal::open(&config).expect("made");
    // No file can be made in a directory that is gone.
    std::fs::remove_dir_all(&config.directory).expect("removed");
    hand(&journal, &records[1..6]);
    until(|| journal.has_lost() == 5).await;
    std::fs::create_dir(&config.directory).expect("made");
    hand(&journal, &records[6..8]);
    journal.close().await;
    let wanted = [Record::Lost { frames: 5 }, records[6].clone(), records[7].clone()];
    assert_eq!(found(&mut Follower::of(config.directory.clone())), wanted.iter().map(words).collect::<Vec<_>>());
}

/// Until a level is reached that another thread moves to.
async fn until(mut done: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if done() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    panic!("not within 10 s");
}

/// The applier never waits: what comes faster than it can be written is left out.
#[tokio::test]
async fn what_comes_too_fast_is_left_out_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(folder.path(), 64 * MIB);
    let journal = FileJournal::open(&config).expect("made");
    journal.fill();
    hand(&journal, &records()[..1]);
    assert_eq!(journal.has_lost(), 1);
    journal.drain();
    hand(&journal, &records()[..1]);
    journal.close().await;
    let wanted = [Record::Lost { frames: 1 }, records()[0].clone()];
    assert_eq!(found(&mut Follower::of(config.directory.clone())), wanted.iter().map(words).collect::<Vec<_>>());
}

#[test]
fn what_is_no_journal_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let read = |bytes: &[u8]| {
        std::fs::write(path(folder.path(), 1), bytes).expect("written");
        Follower::of(folder.path().to_owned()).read(|_| {})
    };
    assert!(matches!(read(b"another kind of file"), Err(ReadError::NoJournal { .. })));
    let mut bytes = record::MAGIC.to_vec();
    bytes.extend(written(&records()[..3]));
    read(&bytes).expect("whole");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert!(matches!(read(&bytes), Err(ReadError::Broken { at, .. }) if at > 16));
    let mut bytes = record::MAGIC.to_vec();
    bytes.extend([0xff; 12]);
    let error = read(&bytes).expect_err("far too long").to_string();
    assert!(error.contains("allowed: at most"), "{error}");
}
