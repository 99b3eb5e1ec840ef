//! Pages: every list is a slice after a cursor.

/// Which slice of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// The cursor that the page before gave; none for the first page.
    pub after: Option<String>,
    /// How many items at the most, 1 to [`PageRequest::MAX_LIMIT`].
    pub limit: u32,
}

impl PageRequest {
    /// The most items that one page holds.
    pub const MAX_LIMIT: u32 = 200;
    /// What a page holds when nothing else is asked for.
    pub const DEFAULT_LIMIT: u32 = 50;

    /// The first page of the default size.
    pub const fn first() -> Self {
        Self {
            after: None,
            limit: Self::DEFAULT_LIMIT,
        }
    }
}

/// A slice of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the order of the list.
    pub items: Vec<T>,
    /// Where the next page begins; none when this is the last.
    pub next: Option<String>,
}
