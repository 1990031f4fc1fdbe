use super::*;
use std::sync::{Arc, Barrier};
use std::thread;

#[test]
fn an_owner_is_found_until_it_is_removed_and_its_id_is_not_given_again() {
    let live = LiveRegistries::new();
    let (first, second) = (Arc::new(1), Arc::new(2));
    let ids = [&first, &second].map(|one| live.insert(&Arc::downgrade(one)));
    let found = |id| {
        live.find(id)
            .and_then(|one| one.upgrade())
            .as_deref()
            .copied()
    };
    assert_eq!(ids.map(found), [Some(1), Some(2)]);
    live.remove(ids[0]);
    assert_eq!(ids.map(found), [None, Some(2)]);
    let third = live.insert(&Arc::downgrade(&first));
    assert!(!ids.contains(&third));
    assert_eq!(ids.map(found), [None, Some(2)]);
    // The list keeps none of them alive.
    drop(second);
    assert_eq!(found(ids[1]), None);
    for id in [ids[1], third] {
        live.remove(id);
    }
    assert!(live.by_id.load().is_none());
}

/// Threads that insert and remove at the same time do not undo each other's changes.
#[test]
fn changes_at_the_same_time_are_all_made() {
    const THREADS: usize = 4;
    let live = LiveRegistries::new();
    let begin = Barrier::new(THREADS);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                begin.wait();
                for number in 0..500 {
                    let one = Arc::new(number);
                    let id = live.insert(&Arc::downgrade(&one));
                    assert_eq!(live.find(id).and_then(|one| one.upgrade()), Some(one));
                    live.remove(id);
                    assert!(live.find(id).is_none());
                }
            });
        }
    });
    assert!(live.by_id.load().is_none());
}
