//! End-to-end flows, faults and the rules of the house as tests.
