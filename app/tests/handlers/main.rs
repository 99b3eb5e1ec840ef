//! Handler groups over real databases: what is held, given up, redriven and replayed, and who holds which shard.
#[cfg(test)]
mod acts;
#[cfg(test)]
mod retries;
#[cfg(test)]
mod shares;
#[cfg(test)]
mod support;
#[cfg(test)]
mod topics;
