use super::super::testing::{Layer, timed_out, wrapped};
use super::*;

#[test]
fn the_whole_chain_is_shown_and_nothing_twice() {
    let error = wrapped(2, timed_out());
    assert_eq!(ChainText(&error).to_string(), "layer 1: layer 0: no answer");
    let io = io::Error::other(Layer(7, None));
    assert_eq!(ChainText(&io).to_string(), "layer 7");
}
