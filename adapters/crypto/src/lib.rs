//! PASETO v4.public tokens, bcrypt behind the HMAC prehash on a bounded pool, sealing and sub-keys of the master key.
