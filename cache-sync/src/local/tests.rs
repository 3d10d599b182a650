use compute::model::limits::FRAME_BYTES_MAX;
use compute::testing::change_log::suite::frame;
use compute::testing::{ManualClock, SeededChance};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tempfile::TempDir;

use super::error::Fault;
use super::tail::Trouble;
use super::*;

/// A writer that does not run, and what would talk to it.
struct Bench {
    config: Config,
    file: LogFile,
    shown: Arc<Shown>,
    writer: Writer,
    appends: mpsc::Sender<Append>,
    clock: Arc<ManualClock>,
    /// Held, because a closed lane would end the writer.
    _chores: mpsc::Sender<Chore>,
    _directory: TempDir,
}

async fn bench() -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let config = Config::at(directory.path().join("log.db"));
    let chance = SeededChance::new(1);
    let choice = Choice::OpenOrCreate { generation: 1, chance: &*chance };
    let mut file = LogFile::open(&config, choice).await.unwrap();
    let ends = file.ends().await.unwrap();
    let shown = Arc::new(Shown::new(file.identity, 1, ends, 1 << 20));
    let (appends, append_queue) = mpsc::channel(8);
    let (chores, chore_queue) = mpsc::channel(8);
    let clock = ManualClock::new();
    let writer = Writer::new(config.clone(), Arc::clone(&shown), append_queue, chore_queue, clock.clone());
    Bench { config, file, shown, writer, appends, clock, _chores: chores, _directory: directory }
}

fn row(identity: LogIdentity, number: u64) -> Row {
    let body = codec::encode(&frame(identity, number), 1).unwrap();
    Row { number, checksum: codec::checksum(&body), body }
}

async fn sql(config: &Config, sql: &str) {
    let mut conn = SqliteConnectOptions::new().filename(&config.path).connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

fn local(config: &Config) -> impl Future<Output = Result<Arc<LocalLog>, OpenError>> {
    let (config, chance) = (config.clone(), SeededChance::new(1));
    async move {
        let choice = Choice::OpenOrCreate { generation: 1, chance: &*chance };
        LocalLog::open(&config, choice, ManualClock::new()).await
    }
}

#[tokio::test]
async fn a_commit_is_flushed_before_it_is_answered() {
    let mut bench = bench().await;
    let modes = bench.file.modes().await.unwrap();
    assert_eq!(modes, ["wal", "2", "exclusive", "0"]);
}

#[tokio::test]
async fn frames_whose_commit_was_unknown_are_shown_when_they_are_there() {
    let held = bench().await;
    let (mut file, shown, mut writer, clock) = (held.file, held.shown, held.writer, held.clock);
    let identity = file.identity;
    file.append(vec![row(identity, 1)]).await.unwrap();
    shown.push([(row(identity, 1).entry(identity, 1).unwrap(), 100)]);
    // Written, and the writer was not told.
    file.append(vec![row(identity, 2), row(identity, 3)]).await.unwrap();
    assert_eq!(shown.ends().last, 1);
    let fault = Fault::Io("as the test says".into());
    let (recovered, ()) = tokio::join!(writer.recover(file, fault), clock_moves(&clock, &shown));
    let mut file = recovered.expect("open again");
    assert_eq!(shown.bounds().unwrap().last, Position::new(1, 3).unwrap());
    let read = shown.read(Position::new(1, 1).unwrap(), 10).await.unwrap().expect("in the tail");
    assert_eq!(read.iter().map(|e| e.position.offset()).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(*read[1].frame, *frame(identity, 3));
    file.append(vec![row(identity, 4)]).await.unwrap();
}

/// Moves the clock until the log is not away any more.
async fn clock_moves(clock: &ManualClock, shown: &Shown) {
    let mut was_away = false;
    loop {
        let away = shown.bounds().is_err();
        if was_away && !away {
            return;
        }
        was_away |= away;
        clock.advance(1_000);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_log_that_lost_its_end_is_not_used_again() {
    let held = bench().await;
    let (mut file, shown, mut writer, clock, appends) = (held.file, held.shown, held.writer, held.clock, held.appends);
    let identity = file.identity;
    file.append(vec![row(identity, 1)]).await.unwrap();
    shown.push([1, 2].map(|n| (row(identity, n).entry(identity, 1).unwrap(), 100)));
    let recovering = tokio::spawn(async move { writer.recover(file, Fault::Io("x".into())).await.is_some() });
    let error = loop {
        clock.advance(1_000);
        match shown.bounds() {
            Err(LogReadError::Unusable(why)) => break why,
            _ => tokio::task::yield_now().await,
        }
    };
    assert!(error.contains("it ended at frame 2, and now at 1"), "{error}");
    let end = shown.read(Position::new(1, 2).unwrap(), 1).await.unwrap_err();
    assert!(matches!(end, LogReadError::Unusable(_)), "{end}");
    let (reply, answer) = oneshot::channel();
    let Row { checksum, body, .. } = row(identity, 3);
    appends.send(Append { frame: frame(identity, 3), body, checksum, reply }).await.ok().unwrap();
    let refused = answer.await.unwrap().unwrap_err();
    assert!(matches!(&refused, AppendError::Refused(why) if why.contains("it ended at frame 2")), "{refused}");
    drop(appends);
    assert!(!recovering.await.unwrap(), "it goes on with another log than before");
}

/// The database itself makes one frame fail, and no other.
#[tokio::test]
async fn an_append_that_fails_is_unknown_and_the_log_goes_on() {
    let held = bench().await;
    let (config, file) = (held.config, held.file);
    let identity = file.identity;
    let poison = codec::checksum(&codec::encode(&frame(identity, 13), 1).unwrap()) as i64;
    file.close().await.unwrap();
    let trigger = format!(
        "CREATE TRIGGER poison BEFORE INSERT ON frame WHEN new.checksum = {poison}
         BEGIN SELECT raise(ABORT, 'as the test says'); END"
    );
    sql(&config, &trigger).await;
    let (clock, chance) = (ManualClock::new(), SeededChance::new(1));
    let choice = Choice::OpenOrCreate { generation: 1, chance: &*chance };
    let log = LocalLog::open(&config, choice, clock.clone()).await.unwrap();
    log.append(frame(identity, 1)).await.unwrap();
    let error = log.append(frame(identity, 13)).await.unwrap_err();
    assert!(matches!(&error, AppendError::Unknown(why) if why.contains("as the test says")), "{error}");
    // Until it is open again, which takes the clock to move, it is away, and what is known can be read.
    let refused = log.append(frame(identity, 2)).await.unwrap_err();
    assert!(matches!(&refused, AppendError::Refused(why) if why.contains("away")), "{refused}");
    assert!(matches!(log.bounds().await, Err(LogReadError::Away(_))));
    assert_eq!(log.read(Position::ZERO, 10).await.unwrap().len(), 1);
    clock_moves(&clock, &log.shown).await;
    let position = log.append(frame(identity, 2)).await.unwrap();
    assert_eq!(position, Position::new(1, 2).unwrap());
    let read = log.read(Position::ZERO, 10).await.unwrap();
    assert_eq!(*read[1].frame, *frame(identity, 2));
    log.close().await;
}

#[tokio::test]
async fn a_row_that_is_not_what_was_written_is_no_entry() {
    let identity = LogIdentity([1; 16]);
    let good = row(identity, 5);
    assert_eq!(good.entry(identity, 1).unwrap().position, Position::new(1, 5).unwrap());
    let mut flipped = good.clone();
    flipped.body[20] ^= 1;
    assert!(flipped.entry(identity, 1).unwrap_err().contains("frame 5 is damaged: its checksum"));
    assert!(good.entry(LogIdentity([2; 16]), 1).unwrap_err().contains("it is of log 0101"));
    assert!(good.entry(identity, 2).unwrap_err().contains("generation 1"));
    let body = vec![1, 2, 3];
    let garbage = Row { number: 5, checksum: codec::checksum(&body), body };
    assert!(garbage.entry(identity, 1).unwrap_err().contains("not a frame"));
}

#[tokio::test]
async fn many_waiting_appends_share_a_commit() {
    let held = bench().await;
    let (mut writer, mut file, shown, appends) = (held.writer, held.file, held.shown, held.appends);
    let identity = file.identity;
    let mut answers = Vec::new();
    for n in 1..=8 {
        let (reply, answer) = oneshot::channel();
        let Row { checksum, body, .. } = row(identity, n);
        appends.send(Append { frame: frame(identity, n), body, checksum, reply }).await.ok().unwrap();
        answers.push(answer);
    }
    writer.commit_next(&mut file).await.unwrap();
    assert_eq!(shown.ends().last, 8);
    for (n, answer) in (1..).zip(answers) {
        assert_eq!(answer.await.unwrap().unwrap(), Position::new(1, n).unwrap());
    }
    let rows = file.read(0, 100).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.number).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_tail_is_bounded_by_bytes() {
    let held = bench().await;
    let (config, file) = (held.config, held.file);
    let identity = file.identity;
    file.close().await.unwrap();
    let log = local(&Config { tail_bytes_max: 4_000, ..config }).await.unwrap();
    for n in 0..100 {
        log.append(frame(identity, n)).await.unwrap();
    }
    let (frames, bytes) = log.shown.tail_size();
    assert!(bytes <= 4_000 && (2..50).contains(&frames), "{frames} frames, {bytes} bytes");
    // What is not there any more comes from the file, and is the same.
    let mut after = Position::ZERO;
    for n in 0..100 {
        let read = log.read(after, 1).await.unwrap();
        assert_eq!(*read[0].frame, *frame(identity, n));
        after = read[0].position;
    }
    log.close().await;
}

#[test]
fn sqlite_takes_the_largest_frame() {
    const SQLITE_BLOB_BYTES_MAX: usize = 1_000_000_000;
    const { assert!(FRAME_BYTES_MAX < SQLITE_BLOB_BYTES_MAX) };
}

#[test]
fn troubles_are_told_apart() {
    assert!(matches!(Trouble::Away("x".into()).error(), LogReadError::Away(_)));
    assert!(matches!(Trouble::Unusable("x".into()).error(), LogReadError::Unusable(_)));
    assert!(matches!(Trouble::Closed.error(), LogReadError::Away(why) if why == "the log is closed"));
}
