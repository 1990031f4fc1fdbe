//! Text that comes from outside: the names of tools, and the messages of errors.
//!
//! Models invent names, and tools return megabytes of terminal output as their error. So a name is
//! checked before it is kept, and a message is cut and escaped.
//!
//! | file | what it owns |
//! | --- | --- |
//! | `text/name.rs` | the names of tools: the check, and a valid name for any text |
//! | `text/excerpt.rs` | [`Excerpt`]: the beginning and the end of an error's text |
//! | `text/policy.rs` | [`TextPolicy`]: the host's redactor, and the message that is kept |
//! | `text/escape.rs` | invisible characters, and their escapes |

mod escape;
mod excerpt;
mod name;
mod policy;
#[cfg(all(test, not(toolmeter_loom)))]
mod testing;

pub(crate) use escape::escaped;
pub(crate) use excerpt::{Excerpt, shown};
pub use name::NameError;
pub(crate) use name::{MAX_NAME_BYTES, check_name, lossy_name};
pub use policy::DEFAULT_MESSAGE_BYTES;
pub(crate) use policy::{MESSAGE_BYTES, Redactor, TextPolicy};
