//! The contract: the wire bodies of Plinth's HTTP interface.
