//! The edge of the server over real sockets: what a client may hold, what a shutdown may lose, how refusals look.
#[cfg(test)]
mod connections;
#[cfg(test)]
mod support;
#[cfg(test)]
mod wire;
