//! What a node's answer is worth, whatever it answers.

use super::*;
use crate::wire::{ErrorBody, ErrorKind};

#[test]
fn only_a_share_or_its_loss_answers_a_question() {
    let said = |kind| Asked::of(Err(ErrorBody::new(kind, "so it says").into()));
    assert_eq!(Asked::of(Ok(vec![true, false])), Asked::Shares(vec![true, false]));
    for kind in [ErrorKind::Missing, ErrorKind::Damaged, ErrorKind::Invalid] {
        assert_eq!(said(kind), Asked::Missing, "{kind:?}");
    }
    for kind in [ErrorKind::Busy, ErrorKind::Failed, ErrorKind::Full, ErrorKind::Unsupported, ErrorKind::Other] {
        assert_eq!(said(kind), Asked::Declined, "{kind:?}");
    }
}

#[test]
fn who_goes_when_it_is_asked_has_left_the_question_open() {
    let closing = NodeError::from(ErrorBody::new(ErrorKind::Closing, "going away"));
    for error in [closing, NodeError::Offline, NodeError::Broken("reset".to_owned()), NodeError::Timeout] {
        assert_eq!(Asked::of(Err(error.clone())), Asked::Late, "{error:?}");
    }
}
