use super::testing::{any_calls, any_snapshot, any_tool, recorded};
use super::*;
use proptest::prelude::*;

fn merged(a: &Snapshot, b: &Snapshot) -> Snapshot {
    let mut sum = a.clone();
    sum.merge(b);
    sum
}

#[test]
fn an_uptime_is_kept_in_whole_microseconds_up_to_35_years() {
    let kept = |uptime| {
        Snapshot::new(
            String::new(),
            SystemTime::UNIX_EPOCH,
            uptime,
            0,
            BTreeMap::new(),
        )
        .uptime
    };
    assert_eq!(
        kept(Duration::from_nanos(61_000_001_999)),
        Duration::from_micros(61_000_001)
    );
    assert_eq!(kept(MAX_UPTIME), MAX_UPTIME);
    assert_eq!(kept(Duration::MAX), MAX_UPTIME);
}

#[test]
fn names_of_instances_are_a_sorted_set() {
    assert_eq!(union("b", "a"), "a,b");
    assert_eq!(union("a,c", "c,b"), "a,b,c");
    assert_eq!(union("", "a"), "a");
    assert_eq!(union("", ""), "");
}

#[test]
fn nothing_adds_up_to_nothing() {
    let empty = Snapshot::new(
        String::new(),
        SystemTime::UNIX_EPOCH,
        Duration::ZERO,
        0,
        BTreeMap::new(),
    );
    assert_eq!(empty.totals(), None);
    assert_eq!(merged(&empty, &empty), empty);
    assert!(empty.tool("web_search").is_none());
}

proptest! {
    #[test]
    fn merging_is_commutative(a in any_snapshot(), b in any_snapshot()) {
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
    }

    #[test]
    fn merging_is_associative(a in any_snapshot(), b in any_snapshot(), c in any_snapshot()) {
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
    }

    #[test]
    fn merging_parts_is_recording_in_one(
        calls in any_calls(3), precisions in [PRECISIONS, PRECISIONS, PRECISIONS],
    ) {
        let parts = [0, 1, 2].map(|part| recorded(precisions[part], &calls, |call| call.part == part));
        let coarsest = precisions.into_iter().min().unwrap();
        let in_one = recorded(coarsest, &calls, |_| true);
        prop_assert_eq!(parts[0].merge(&parts[1]).merge(&parts[2]), in_one.clone());

        // The same through snapshots: two hosts share a tool, the third has it alone.
        let snapshot = |name: &str, part: &ToolStats| Snapshot::new(
            name.to_owned(), SystemTime::UNIX_EPOCH, Duration::ZERO, 1,
            BTreeMap::from([(Arc::from("x"), Arc::new(part.clone()))]),
        );
        let mut all = snapshot("c", &parts[0]);
        all.merge(&snapshot("a", &parts[1]));
        all.merge(&snapshot("b", &parts[2]));
        prop_assert_eq!(all.tool("x"), Some(&in_one));
        prop_assert_eq!(all.totals(), Some(in_one));
        prop_assert_eq!((all.instance.as_str(), all.unknown_tool_calls), ("a,b,c", 3));
    }

    #[test]
    fn a_tool_of_one_host_is_taken_over_and_totals_add_tools_up(a in any_tool(), b in any_tool()) {
        let snapshot = |name: &str, stats: &ToolStats| Snapshot::new(
            String::new(), SystemTime::UNIX_EPOCH, Duration::ZERO, 0,
            BTreeMap::from([(Arc::from(name), Arc::new(stats.clone()))]),
        );
        let both = merged(&snapshot("a", &a), &snapshot("b", &b));
        prop_assert_eq!((both.tool("a"), both.tool("b")), (Some(&a), Some(&b)));
        prop_assert_eq!(both.totals(), Some(a.merge(&b)));
    }
}
