//! The ports of Plinth: traits whose doc comments are contracts, with conformance suites and mocks.
