use super::lane;

#[tokio::test]
async fn it_is_no_longer_than_there_are_subjects() {
    let (words, mut end) = lane::<u8, Vec<u32>>();
    for n in 0..30_000 {
        words.put((n % 3) as u8, |slot| *slot = vec![n]);
    }
    assert_eq!(words.len(), 3);
    assert_eq!(end.take(2).await, Some(vec![(0, vec![29_997]), (1, vec![29_998])]));
    words.put(0, |slot| slot.push(1));
    assert_eq!(end.take(2).await, Some(vec![(2, vec![29_999]), (0, vec![1])]), "who came first goes first");
}

#[tokio::test]
async fn what_was_said_last_is_heard_after_the_last_speaker_has_gone() {
    let (words, mut end) = lane::<u8, Vec<u32>>();
    let other = words.clone();
    other.put(1, |slot| slot.push(1));
    other.put(1, |slot| slot.push(2));
    drop((words, other));
    assert_eq!(end.take(8).await, Some(vec![(1, vec![1, 2])]));
    assert_eq!(end.take(8).await, None);
}
