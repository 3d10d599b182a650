use compute::model::{Row, Rows};
use compute::testing::store::sample::{instance, position};

use super::{Batch, SIZES, pieces};

#[test]
fn pieces_have_a_fixed_size_and_lose_nothing() {
    for count in [0, 1, 9, 10, 11, 99, 100, 101, 110, 111, 345, 1_000] {
        let rows: Vec<usize> = (0..count).collect();
        let cut: Vec<&[usize]> = pieces(&rows).collect();
        assert!(cut.iter().all(|piece| SIZES.contains(&piece.len())), "{count}");
        assert_eq!(cut.concat(), rows);
    }
}

#[test]
fn a_batch_is_in_the_order_of_its_keys() {
    let put = |n| instance(n, position(1).at(0));
    let delete = |n| Row::Delete(put(n).key().clone());
    let rows = Rows { instances: vec![put(40), delete(31), put(7), delete(2), put(25)], ..Rows::default() };
    let batch = Batch::new(rows).unwrap().instances;
    let puts: Vec<_> = batch.puts.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(puts, [put(7).key().clone(), put(25).key().clone(), put(40).key().clone()]);
    assert_eq!(batch.deletes, [put(2).key().clone(), put(31).key().clone()]);
}

#[test]
fn a_key_twice_is_refused_by_name() {
    let put = |n| instance(n, position(1).at(0));
    let rows = Rows { instances: vec![put(1), put(2), Row::Delete(put(1).key().clone())], ..Rows::default() };
    let refused = Batch::new(rows).err().unwrap();
    assert!(refused.contains("presence_instance") && refused.contains(&put(1).key().to_string()), "{refused}");
}
