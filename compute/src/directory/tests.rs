use std::time::Duration;

use super::*;

/// A reader who only looks must not wait for who writes, nor for who waits.
#[test]
fn progress_is_read_while_it_is_written() {
    let directory = Arc::new(Directory::new(SelectedLimits::default()));
    let applied = Position::new(1, 7).expect("in range");
    directory.put_applied(applied, 1_000);
    directory.put_landed(applied.back(1));
    let reader = directory.clone();
    directory.progress.send_modify(|_| {
        let (told, hears) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let _ = told.send(reader.reached());
        });
        let progress = hears.recv_timeout(Duration::from_secs(20)).expect("it does not wait");
        assert_eq!(progress, Progress { applied, time_ms: 1_000, landed: applied.back(1) });
    });
    assert_eq!(*directory.progress().borrow(), directory.reached());
}
