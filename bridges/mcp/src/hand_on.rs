//! Methods of a handler that only call the same method of the handler within.

/// Defines methods that hand their arguments on to `self.handler`.
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
