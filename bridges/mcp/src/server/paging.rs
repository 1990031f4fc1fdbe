//! A list that a client reads page by page.

use crate::names::{MAX_NAME, MAX_TOOLS};
use rmcp::model::Tool;
use std::collections::HashSet;
use std::mem;

/// The names on the pages that a client has read in turn, from the first page on.
///
/// At most as many are kept as a server's tools may be.
#[derive(Default)]
pub(super) struct Paging {
    names: HashSet<Box<str>>,
    /// The cursor of the page that comes next.
    next: Option<String>,
}

impl Paging {
    /// Takes in the page that the client asked for with this cursor, and the cursor of the page
    /// after it. Returns the names on all pages if it is the last page, and the others were read.
    ///
    /// A page out of turn changes nothing.
    pub(super) fn page(
        &mut self,
        asked: Option<&str>,
        tools: &[Tool],
        next: Option<&str>,
    ) -> Option<HashSet<Box<str>>> {
        if asked.is_none() {
            self.names.clear();
        } else if asked != self.next.as_deref() {
            return None;
        }
        for tool in tools.iter().filter(|tool| tool.name.len() <= MAX_NAME) {
            if self.names.len() < MAX_TOOLS {
                self.names.insert((*tool.name).into());
            }
        }
        self.next = next.map(str::to_owned);
        next.is_none().then(|| mem::take(&mut self.names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools(names: impl IntoIterator<Item = String>) -> Vec<Tool> {
        let tool = |name| Tool::new(name, "", serde_json::Map::new());
        names.into_iter().map(tool).collect()
    }

    fn page(
        paging: &mut Paging,
        asked: Option<&str>,
        names: &[&str],
        next: Option<&str>,
    ) -> Option<Vec<String>> {
        let tools = tools(names.iter().copied().map(str::to_owned));
        let names = paging.page(asked, &tools, next)?;
        let mut names: Vec<_> = names.into_iter().map(String::from).collect();
        names.sort_unstable();
        Some(names)
    }

    #[test]
    fn only_pages_in_turn_make_a_list() {
        let mut paging = Paging::default();
        assert_eq!(page(&mut paging, None, &["a"], None).unwrap(), ["a"]);
        assert_eq!(page(&mut paging, Some("1"), &["z"], None), None);
        assert_eq!(page(&mut paging, None, &["old"], Some("1")), None);
        // The client begins again.
        assert_eq!(page(&mut paging, None, &["a"], Some("1")), None);
        assert_eq!(page(&mut paging, Some("2"), &["c"], None), None);
        assert_eq!(page(&mut paging, Some("1"), &["b"], Some("2")), None);
        assert_eq!(page(&mut paging, Some("1"), &["b"], Some("2")), None);
        let all = page(&mut paging, Some("2"), &["c"], None);
        assert_eq!(all.unwrap(), ["a", "b", "c"]);
        assert_eq!(page(&mut paging, Some("2"), &["c"], None), None);
    }

    #[test]
    fn a_list_without_end_is_bounded() {
        let mut paging = Paging::default();
        paging.page(None, &[], Some("more"));
        for part in 0..25 {
            let names = (0..1_000).map(|n| format!("{part}_{n}"));
            paging.page(Some("more"), &tools(names), Some("more"));
        }
        let long = tools(["x".repeat(MAX_NAME + 1)]);
        let all = paging.page(Some("more"), &long, None).unwrap();
        assert_eq!(all.len(), MAX_TOOLS);
        paging.page(None, &long, Some("more"));
        assert!(paging.page(Some("more"), &[], None).unwrap().is_empty());
    }
}
