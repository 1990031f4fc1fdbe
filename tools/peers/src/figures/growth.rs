//! The growth of the time to register and to free tools with their number.

use super::figure::Figure;
use std::error::Error;
use std::time::Instant;
use toolmeter::{Pump, Registry};

/// Measures how the time to register tools one by one, and to free them, grows with their number.
pub(super) fn growth(stripes: usize) -> Result<[Figure; 2], Box<dyn Error>> {
    const TRIES: usize = 11;
    let [mut registering, mut freeing] = [const { Vec::new() }; 2];
    for _ in 0..TRIES {
        let ([first, second], [tenfold_first, tenfold_second]) =
            (come_and_go(stripes, 1_000)?, come_and_go(stripes, 10_000)?);
        registering.push(tenfold_first / first);
        freeing.push(tenfold_second / second);
    }
    Ok([
        Figure::new(
            "registering tools one by one: 10,000 / 1,000",
            12.0,
            registering,
        ),
        Figure::new(
            "freeing them for as many others: 10,000 / 1,000",
            12.0,
            freeing,
        ),
    ])
}

/// Returns the seconds that it takes to register `tools` tools one by one, and to free them all and
/// register as many others, for which there is no room before.
fn come_and_go(stripes: usize, tools: usize) -> Result<[f64; 2], Box<dyn Error>> {
    let registry = Registry::builder()
        .pump(Pump::manual())
        .stripes(stripes)
        .tool_limit(tools)
        .build()?;
    let names = |of| (0..tools).map(move |tool| format!("{of}_{tool}"));
    let register_all = |of| {
        let tools = names(of).map(|name| registry.register(name));
        tools.collect::<Result<Vec<_>, _>>()
    };
    let start = Instant::now();
    let first = register_all("first")?;
    let registered = start.elapsed();
    for tool in &first {
        tool.start().succeed();
    }
    drop(first);
    let start = Instant::now();
    for name in names("first") {
        registry.deregister(&name)?;
    }
    let others = register_all("other")?;
    let replaced = start.elapsed();
    for tool in &others {
        tool.start().succeed();
    }
    let counted = registry.totals().totals().map_or(0, |all| all.success());
    if counted != 2 * tools as u64 {
        return Err(
            format!("{counted} calls are counted of one of each of 2 x {tools} tools").into(),
        );
    }
    Ok([registered, replaced].map(|time| time.as_secs_f64()))
}
