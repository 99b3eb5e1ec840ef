//! Where messages come from: a server that is followed, or a recording; and the passing of time.
use std::time::Duration;

use openapi::{ClientError, OpsClient, StatsBody};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::{Instant, MissedTickBehavior};

use crate::event::{Message, Way};

/// How often time passes for the picture, so that ages grow before the eye.
const TICK: Duration = Duration::from_millis(500);

/// The wait after the first failure, in milliseconds; it doubles with each further one.
const FIRST_RETRY_MS: u64 = 500;

/// The longest wait between two tries, in milliseconds: a server that is back is seen while somebody still looks.
const LONGEST_RETRY_MS: u64 = 8_000;

/// What the source is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Read now.
    Refresh,
    /// Read at this interval, in milliseconds.
    Interval(u64),
}

/// The time since the dashboard was opened.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Milliseconds since the start.
    pub fn millis(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Sends a tick again and again, until nobody listens.
pub async fn tick(watch: Stopwatch, messages: Sender<Message>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        if messages.send(Message::Tick(watch.millis())).await.is_err() {
            return;
        }
    }
}

/// Follows the server's figures, until nobody listens: by its stream, or by asking where a server has none.
pub async fn follow(
    client: OpsClient,
    interval_ms: u64,
    watch: Stopwatch,
    messages: Sender<Message>,
    orders: Receiver<Order>,
) {
    let source = Source {
        client,
        interval_ms,
        watch,
        messages,
        orders,
        failures: 0,
    };
    // It ends with the channel, and with that only.
    let _ = source.run().await;
}

/// Nobody listens any more.
struct Closed;

/// Why one way of following ended.
enum End {
    /// The server is to be asked for its stream anew.
    Anew,
    /// It has no stream.
    NoStream,
    /// It went, for this reason.
    Lost(String),
}

struct Source {
    client: OpsClient,
    interval_ms: u64,
    watch: Stopwatch,
    messages: Sender<Message>,
    orders: Receiver<Order>,
    /// How many times in a row the server did not answer.
    failures: u32,
}

impl Source {
    async fn run(mut self) -> Result<(), Closed> {
        loop {
            let end = match self.stream().await? {
                End::NoStream => self.ask().await?,
                end => end,
            };
            if let End::Lost(reason) = end {
                self.lose(reason).await?;
            }
        }
    }

    /// Takes what the server sends by itself. Another pace, and figures at once, are had by asking for the stream anew.
    async fn stream(&mut self) -> Result<End, Closed> {
        let mut stream = tokio::select! {
            stream = self.client.watch(Duration::from_millis(self.interval_ms)) => match stream {
                Ok(stream) => stream,
                Err(ClientError::Status(404)) => return Ok(End::NoStream),
                Err(error) => return Ok(End::Lost(error.to_string())),
            },
            order = self.orders.recv() => return self.obey(order).map(|()| End::Anew),
        };
        loop {
            tokio::select! {
                next = stream.next() => match next {
                    Ok(Some(body)) => self.tell(Way::Stream, body).await?,
                    Ok(None) => return Ok(End::Lost("it ended the stream, as a server that shuts down does".to_owned())),
                    Err(ClientError::Slow) => return Ok(End::Lost("nothing came for too long".to_owned())),
                    Err(error) => return Ok(End::Lost(error.to_string())),
                },
                order = self.orders.recv() => return self.obey(order).map(|()| End::Anew),
            }
        }
    }

    /// Asks again and again, until there is no answer: what comes back then may have a stream.
    async fn ask(&mut self) -> Result<End, Closed> {
        loop {
            let asked = Instant::now();
            match self.client.stats().await {
                Ok(body) => self.tell(Way::Asked, body).await?,
                Err(error) => return Ok(End::Lost(error.to_string())),
            }
            loop {
                // The interval is from question to question, so that a slow answer does not slow the pace.
                let next = asked + Duration::from_millis(self.interval_ms);
                tokio::select! {
                    () = tokio::time::sleep_until(next) => break,
                    order = self.orders.recv() => {
                        self.obey(order)?;
                        if order == Some(Order::Refresh) {
                            break;
                        }
                    }
                }
            }
        }
    }

    async fn tell(&mut self, way: Way, body: StatsBody) -> Result<(), Closed> {
        self.failures = 0;
        let (at, body) = (self.watch.millis(), Box::new(body));
        self.send(Message::Stats { at, way, body }).await
    }

    /// Tells that the server went, and waits until it is worth asking again.
    async fn lose(&mut self, reason: String) -> Result<(), Closed> {
        self.failures = self.failures.saturating_add(1);
        let (at, retry_ms) = (self.watch.millis(), retry_ms(self.failures, self.interval_ms));
        self.send(Message::Lost { at, reason, retry_ms }).await?;
        let next = Instant::now() + Duration::from_millis(retry_ms);
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(next) => return Ok(()),
                order = self.orders.recv() => {
                    self.obey(order)?;
                    if order == Some(Order::Refresh) {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn obey(&mut self, order: Option<Order>) -> Result<(), Closed> {
        if let Order::Interval(millis) = order.ok_or(Closed)? {
            self.interval_ms = millis;
        }
        Ok(())
    }

    async fn send(&self, message: Message) -> Result<(), Closed> {
        self.messages.send(message).await.map_err(|_| Closed)
    }
}

/// The wait after so many failures in a row, in milliseconds; never shorter than the interval that was asked for, unless
/// that is longer than the longest wait.
fn retry_ms(failures: u32, interval_ms: u64) -> u64 {
    let doubled = FIRST_RETRY_MS.saturating_mul(1_u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX));
    doubled.max(interval_ms).min(LONGEST_RETRY_MS)
}

/// Sends the messages of a recording at the pace at which they were recorded, and then its end.
pub async fn replay(recording: Vec<Message>, messages: Sender<Message>) {
    let start = Instant::now();
    for message in recording {
        if let Some(at) = message.at() {
            tokio::time::sleep_until(start + Duration::from_millis(at)).await;
        }
        if messages.send(message).await.is_err() {
            return;
        }
    }
    // Whoever is gone needs no end.
    let _ = messages.send(Message::Ended).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit() {
        let waits: Vec<u64> = (1..=7).map(|failures| retry_ms(failures, 250)).collect();
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
        assert_eq!(
            (retry_ms(1, 2_000), retry_ms(u32::MAX, 250), retry_ms(1, 60_000)),
            (2_000, 8_000, 8_000)
        );
    }
}
