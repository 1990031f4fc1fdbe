//! A macro for methods of a handler that only call the same method of the inner handler.

/// Defines methods that pass their arguments on to `self.handler`.
macro_rules! handed_on {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {$(
        fn $name(
            &self,
            $($argument: $type),*
        ) -> impl Future<Output = $answer> + Send + '_ {
            self.handler.$name($($argument),*)
        }
    )*};
}

pub(crate) use handed_on;
