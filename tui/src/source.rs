//! Where messages come from: a server that is asked again and again, or a recording; and the passing of time.
use std::time::Duration;

use openapi::{ClientError, OpsClient};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::{Instant, MissedTickBehavior};

use crate::event::Message;

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

/// Reads the server's figures again and again, until nobody listens.
pub async fn poll(
    client: OpsClient,
    mut interval_ms: u64,
    watch: Stopwatch,
    messages: Sender<Message>,
    mut orders: Receiver<Order>,
) {
    let mut failures = 0_u32;
    loop {
        let asked = Instant::now();
        let answer = client.stats().await;
        failures = if answer.is_ok() { 0 } else { failures.saturating_add(1) };
        let retry_ms = retry_ms(failures, interval_ms);
        if messages.send(message(answer, asked, retry_ms, watch)).await.is_err() {
            return;
        }
        // The interval is from question to question, so that a slow answer does not slow the pace.
        let mut next = if failures == 0 {
            asked + Duration::from_millis(interval_ms)
        } else {
            Instant::now() + Duration::from_millis(retry_ms)
        };
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(next) => break,
                order = orders.recv() => match order {
                    Some(Order::Refresh) => break,
                    Some(Order::Interval(millis)) => {
                        interval_ms = millis;
                        if failures == 0 {
                            next = asked + Duration::from_millis(millis);
                        }
                    }
                    None => return,
                },
            }
        }
    }
}

fn message(
    answer: Result<openapi::StatsBody, ClientError>,
    asked: Instant,
    retry_ms: u64,
    watch: Stopwatch,
) -> Message {
    let at = watch.millis();
    match answer {
        Ok(body) => {
            let took_ms = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
            Message::Stats {
                at,
                took_ms,
                body: Box::new(body),
            }
        }
        Err(error) => Message::Lost {
            at,
            reason: error.to_string(),
            retry_ms,
        },
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
