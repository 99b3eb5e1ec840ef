//! Timeout, breaker, bulkhead and counters as decorators over the ports.
