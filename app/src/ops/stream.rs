//! The stream of figures: the same document again and again, as server-sent events.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::unfold;
use poem::{Body, Response};
use tokio::time::{Interval, MissedTickBehavior};

use super::stats::Stats;
use crate::http::problem::Fault;
use crate::lifecycle::Shutdown;

/// What a watcher gets who names no interval, in milliseconds.
const EVERY_MS: u64 = 1_000;
/// The intervals that a watcher may name, in milliseconds: no faster than the eye follows, and no slower than a proxy waits.
const ALLOWED_MS: std::ops::RangeInclusive<u64> = 200..=60_000;

/// The interval that the query of a request names.
///
/// # Errors
/// When it is no number within the bounds.
pub(super) fn interval(query: Option<&str>) -> Result<Duration, Fault> {
    let query = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let every = query
        .filter(|(name, _)| name == "every_ms")
        .map(|(_, value)| value)
        .last();
    let Some(every) = every else {
        return Ok(Duration::from_millis(EVERY_MS));
    };
    let refused = || {
        let (least, most) = (ALLOWED_MS.start(), ALLOWED_MS.end());
        Fault::malformed_request().detail(format!("`every_ms` takes whole milliseconds from {least} to {most}."))
    };
    let millis: u64 = every.parse().map_err(|_| refused())?;
    if !ALLOWED_MS.contains(&millis) {
        return Err(refused());
    }
    Ok(Duration::from_millis(millis))
}

/// The figures at once and then at this interval, until the client goes or the process drains.
pub(super) fn answer(stats: Arc<Stats>, every: Duration, shutdown: Shutdown) -> Response {
    let mut ticks = tokio::time::interval(every);
    // A client that reads slowly gets the figures of when it reads, not all that it missed.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let frames = unfold((stats, ticks, shutdown), |(stats, mut ticks, shutdown)| async {
        let frame = frame(&stats, &mut ticks, &shutdown).await?;
        Some((Ok::<_, io::Error>(frame), (stats, ticks, shutdown)))
    });
    Response::builder()
        .content_type("text/event-stream")
        .header("X-Accel-Buffering", "no")
        .body(Body::from_bytes_stream(frames))
}

async fn frame(stats: &Stats, ticks: &mut Interval, shutdown: &Shutdown) -> Option<Bytes> {
    tokio::select! {
        biased;
        () = shutdown.draining() => return None,
        _ = ticks.tick() => {}
    }
    let reading = stats.read().await;
    let mut frame = b"data: ".to_vec();
    serde_json::to_writer(&mut frame, &reading.body).ok()?;
    frame.extend_from_slice(b"\n\n");
    Some(frame.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_bounded_and_has_a_default() {
        let read = |query| interval(query).map(|every| every.as_millis());
        assert_eq!(read(None).unwrap(), 1_000);
        assert_eq!(read(Some("other=1")).unwrap(), 1_000);
        assert_eq!(read(Some("every_ms=200")).unwrap(), 200);
        assert_eq!(read(Some("every_ms=60000")).unwrap(), 60_000);
        for refused in [
            "every_ms=199",
            "every_ms=60001",
            "every_ms=",
            "every_ms=-1",
            "every_ms=1s",
        ] {
            let fault = interval(Some(refused)).unwrap_err();
            assert_eq!(fault.problem("-").status, 400, "{refused}");
        }
    }
}
