//! What must not compile, and for which reason: the programs of `tests/compile_fail/`, each with
//! the compiler's own words beside it.
//!
//! The words change from one compiler to the next, so they are compared on one only. On any other
//! the examples of [`toolmeter::CallGuard`] still show that such programs do not compile. To take
//! the words of another compiler, change the version here and run this test with
//! `TRYBUILD=overwrite`.
#![cfg(not(toolmeter_loom))]

#[rustversion::attr(
    not(stable(1.95)),
    ignore = "the compiler's words are those of Rust 1.95"
)]
#[test]
fn what_must_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
