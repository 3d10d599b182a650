use super::{CONNECTIONS_MIN, RESERVED, connections};

#[test]
fn both_listeners_fit_beside_everything_else() {
    for limit in [4_096, 65_536, 1 << 20] {
        let each = connections(limit, 512);
        assert!(2 * each + 512 + RESERVED <= limit, "{limit}");
        assert!(2 * (each + 1) + 512 + RESERVED > limit, "{limit}: no more than needed is left over");
    }
    assert_eq!(connections(256, 512), CONNECTIONS_MIN);
}
