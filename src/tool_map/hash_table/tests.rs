use super::*;
use crate::Registry;
use std::ptr;

fn tools(count: usize) -> Vec<ToolHandle> {
    let registry = Registry::builder()
        .pump(crate::Pump::manual())
        .build()
        .unwrap();
    let specs = (0..count).map(|number| format!("tool_{number}"));
    registry.register_all(specs).unwrap()
}

fn found(table: &HashTable, hash: u64, name: &str) -> Option<String> {
    let tool = table.get(table.find(hash, name)?)?;
    Some(tool.name().to_owned())
}

/// Each way to spread the names, the worst included: all in one line, and in the last one.
#[test]
fn a_name_is_found_whatever_the_hashes_are() {
    let tools = tools(100);
    let hashes: [fn(usize) -> u64; 5] = [
        |number| number as u64,
        |_| 0,
        |_| u64::MAX,
        |number| u64::MAX - number as u64 % 2,
        |number| (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
    ];
    for hash in hashes {
        let mut table = HashTable::default();
        assert_eq!(table.find(hash(0), "tool_0"), None);
        for (number, tool) in tools.iter().enumerate() {
            table = table.with(hash(number), tool.clone());
        }
        for (number, tool) in tools.iter().enumerate() {
            let name = tool.name();
            assert_eq!(found(&table, hash(number), name).as_deref(), Some(name));
            assert_eq!(found(&table, hash(number), &format!("{name}x")), None);
            assert_eq!(found(&table, hash(number), &format!("{name}\0")), None);
            assert_eq!(found(&table, hash(number), &name[1..]), None);
        }
        assert_eq!(table.entries().count(), tools.len());
        for (number, tool) in tools.iter().enumerate() {
            let entry = table.find(hash(number), tool.name()).unwrap();
            let (rest, gone) = table.without(entry).unwrap();
            assert_eq!(gone.name(), tool.name());
            assert_eq!(rest.find(hash(number), tool.name()), None);
            assert_eq!(rest.entries().count(), tools.len() - number - 1);
            table = rest;
        }
        assert_eq!(table.buckets.len(), 0);
    }
}

/// A name that has the hash of another is another.
#[test]
fn names_of_one_hash_are_told_apart() {
    let tools = tools(2);
    let table = HashTable::default().with(7, tools[0].clone());
    assert_eq!(found(&table, 7, "tool_0").as_deref(), Some("tool_0"));
    assert_eq!(found(&table, 7, "tool_1"), None);
    assert_eq!(found(&table, 8, "tool_0"), None);
}

#[test]
fn what_a_look_up_reads_has_cache_lines_of_its_own() {
    assert_eq!((size_of::<Bucket>(), align_of::<Bucket>()), (128, 128));
    let parts = [
        align_of::<HashTable>(),
        align_of::<super::super::Shard>(),
        align_of::<super::super::ToolMap>(),
    ];
    assert_eq!(parts, [128; 3]);
    let tool = &tools(1)[0];
    let [state, env, slot] = [
        ptr::from_ref(&*tool.0).addr(),
        ptr::from_ref(&*tool.0.env).addr(),
        ptr::from_ref(&*tool.0.slot).addr(),
    ];
    assert_eq!([state % 128, env % 128, slot % 128], [0; 3]);
    assert_eq!(size_of_val(&*tool.0) % 128, 0);
}
