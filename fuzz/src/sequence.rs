//! Sequences of operations that are as long as the input.

use arbitrary::{Arbitrary, Result, Unstructured};

/// A sequence of operations that ends where the input is used up.
///
/// `arbitrary`'s own `Vec` reads from the input before each element whether there is another. So it
/// makes one element on average from random bytes, however many there are.
#[derive(Clone, Debug)]
pub(crate) struct Sequence<T>(Vec<T>);

impl<T> std::ops::Deref for Sequence<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'a, T: Arbitrary<'a>> Arbitrary<'a> for Sequence<T> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut elements = Vec::new();
        while !u.is_empty() {
            elements.push(u.arbitrary()?);
        }
        Ok(Self(elements))
    }
}
