//! Sequences of operations that are as long as the input.

use arbitrary::{Arbitrary, Result, Unstructured};

/// Operations until the input is used up.
///
/// `arbitrary`'s own `Vec` asks the input before each element whether there is another, so that of
/// random bytes, however many, it makes two on average.
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
