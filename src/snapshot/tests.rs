use super::testing::{any_calls, any_snapshot, any_tool, recorded};
use super::*;
use proptest::prelude::*;

fn merged(a: &Snapshot, b: &Snapshot) -> Snapshot {
    let mut sum = a.clone();
    sum.merge(b);
    sum
}

fn header(instance: &str, unknown_tool_calls: u64) -> Header {
    Header {
        instance: instance.to_owned(),
        started_at: SystemTime::UNIX_EPOCH,
        taken_at: SystemTime::UNIX_EPOCH,
        uptime: Duration::ZERO,
        unknown_tool_calls,
    }
}

fn empty(header: Header) -> Snapshot {
    Snapshot::new(header, BTreeMap::new(), None)
}

#[test]
fn an_uptime_is_kept_in_whole_microseconds_up_to_35_years() {
    let kept = |uptime| {
        let header = Header {
            uptime,
            ..header("", 0)
        };
        empty(header).uptime
    };
    assert_eq!(
        kept(Duration::from_nanos(61_000_001_999)),
        Duration::from_micros(61_000_001)
    );
    assert_eq!(kept(MAX_UPTIME), MAX_UPTIME);
    assert_eq!(kept(Duration::MAX), MAX_UPTIME);
}

#[test]
fn names_of_instances_are_kept_whole() {
    let named = |name| empty(header(name, 0));
    let both = merged(&named("rack 7, slot 2"), &named("a"));
    let names: Vec<_> = both.instances.iter().map(String::as_str).collect();
    assert_eq!(names, ["a", "rack 7, slot 2"]);
}

#[test]
fn nothing_adds_up_to_nothing() {
    let empty = empty(header("", 0));
    assert_eq!(empty.totals(), None);
    assert_eq!(merged(&empty, &empty), empty);
    assert!(empty.tool("web_search").is_none());
}

#[test]
fn the_earliest_start_and_all_nameless_tools_are_merged() {
    let at = |secs| SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
    let mut a = empty(Header {
        started_at: at(5),
        ..header("a", 0)
    });
    let b = empty(Header {
        started_at: at(3),
        ..header("b", 0)
    });
    let stats = recorded(5, &[], |_| true);
    a.nameless = Some(Arc::new(NamelessTools { tools: 2, stats }));
    for both in [merged(&a, &b), merged(&b, &a)] {
        assert_eq!(both.started_at, at(3));
        assert_eq!(both.nameless, a.nameless);
        assert_eq!(both.totals().unwrap().finished(), 0);
    }
    assert_eq!(merged(&a, &a).nameless.as_ref().unwrap().tools, 4);
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
            header(name, 1), BTreeMap::from([(Arc::from("x"), Arc::new(part.clone()))]), None,
        );
        let mut all = snapshot("c", &parts[0]);
        all.merge(&snapshot("a", &parts[1]));
        all.merge(&snapshot("b", &parts[2]));
        prop_assert_eq!(all.tool("x"), Some(&in_one));
        prop_assert_eq!(all.totals(), Some(in_one));
        prop_assert_eq!(all.instances.iter().collect::<Vec<_>>(), ["a", "b", "c"]);
        prop_assert_eq!(all.unknown_tool_calls, 3);
    }

    #[test]
    fn a_tool_of_one_host_is_taken_over_and_totals_add_tools_up(a in any_tool(), b in any_tool()) {
        let snapshot = |name: &str, stats: &ToolStats| Snapshot::new(
            header("", 0), BTreeMap::from([(Arc::from(name), Arc::new(stats.clone()))]), None,
        );
        let both = merged(&snapshot("a", &a), &snapshot("b", &b));
        prop_assert_eq!((both.tool("a"), both.tool("b")), (Some(&a), Some(&b)));
        prop_assert_eq!(both.totals(), Some(a.merge(&b)));
    }
}
