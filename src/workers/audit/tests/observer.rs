//! What is asked of whom.

use super::*;

#[test]
fn who_leaves_questions_open_is_asked_others_all_the_same() {
    let draws = |nodes: &[u32]| nodes.iter().map(|&node| Draw { node, piece: (), stripe: 0 }).collect::<Vec<_>>();
    let open = |of_first: u64| (0..of_first).map(|_| 1).chain([2]);
    let asked = |of_first| -> Vec<u32> {
        contained(draws(&[1, 2, 1, 2, 3, 1, 2]), open(of_first)).into_iter().map(|draw| draw.node).collect()
    };
    assert_eq!(asked(1), [1, 2, 1, 2, 3, 1, 2]);
    assert_eq!(asked(FOLLOW_UPS_MAX - 1), [1, 2, 1, 2, 3, 1, 2]);
    assert_eq!(asked(FOLLOW_UPS_MAX), [1, 2, 2, 3, 2], "one shows whether it answers anything");
}
