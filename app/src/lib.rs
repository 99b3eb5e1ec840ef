//! Plinth: accounts, tokens, files, events and mail in one binary.
