//! The dashboard put together: sources, terminal, and the loop between them.
use std::path::PathBuf;
use std::time::Duration;

use openapi::{ClientError, OpsClient, StatsBody};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::event::{Message, Way};
use crate::model::{Model, Profile};
use crate::record::{self, RecordError, Recorder};
use crate::source::{self, Order, Stopwatch};
use crate::terminal::{Screen, listen};
use crate::update::{Effect, update};
use crate::view::{plain, view};

/// The interval between two readings at the start, in milliseconds.
const INTERVAL_MS: u64 = 1_000;

/// Messages that may wait for the picture. Whoever sends more waits.
const MOST_WAITING: usize = 64;

/// What the dashboard is opened with.
#[derive(Clone)]
pub struct Options {
    /// The ops address: `HOST:PORT` or `http://HOST:PORT`.
    pub address: String,
    /// The bearer token, where the listener asks for one.
    pub token: Option<String>,
    /// What the terminal can show.
    pub profile: Profile,
    /// Every message is written to this file, which must not exist yet.
    pub record: Option<PathBuf>,
    /// The messages come from this file instead of a server.
    pub replay: Option<PathBuf>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("address", &self.address)
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

/// Why the dashboard ended.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// The server cannot be asked.
    #[error("{address}: {source}")]
    Client {
        /// The server.
        address: String,
        /// Why.
        source: ClientError,
    },
    /// The recording cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The terminal cannot be used.
    #[error("the terminal cannot be used: {0}")]
    Terminal(#[from] std::io::Error),
}

fn client(options: &Options) -> Result<OpsClient, TopError> {
    OpsClient::new(&options.address, options.token.as_deref()).map_err(|source| refused(options, source))
}

fn refused(options: &Options, source: ClientError) -> TopError {
    TopError::Client {
        address: options.address.clone(),
        source,
    }
}

/// Reads the figures once.
///
/// # Errors
/// When the server does not answer.
pub async fn once(options: &Options) -> Result<StatsBody, TopError> {
    client(options)?
        .stats()
        .await
        .map_err(|source| refused(options, source))
}

/// The overview as text, from two readings a second apart, since rates need two.
///
/// # Errors
/// When the server does not answer.
pub async fn overview(options: &Options) -> Result<String, TopError> {
    let client = client(options)?;
    let watch = Stopwatch::start();
    let mut model = Model::new(options.profile);
    update(
        &mut model,
        Message::Opened {
            address: client.address().to_owned(),
            interval_ms: INTERVAL_MS,
        },
    );
    for wait_ms in [0, INTERVAL_MS] {
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        let body = client.stats().await.map_err(|source| refused(options, source))?;
        update(
            &mut model,
            Message::Stats {
                at: watch.millis(),
                way: Way::Asked,
                body: Box::new(body),
            },
        );
    }
    Ok(plain(&model))
}

/// Shows the dashboard until the reader quits or the process is told to end.
///
/// # Errors
/// When the address, a recording or the terminal cannot be used. A server that does not answer is no error: it is waited for.
pub async fn run(options: Options) -> Result<(), TopError> {
    let (messages, inbox) = channel(MOST_WAITING);
    let (orders, told) = channel(MOST_WAITING);
    let recorder = options.record.as_deref().map(Recorder::create).transpose()?;
    let feed = feed(&options, messages.clone(), told)?;
    let mut screen = Screen::enter()?;
    listen(messages)?;
    tokio::select! {
        result = drive(&mut screen, Model::new(options.profile), inbox, orders, recorder) => result,
        () = feed => Ok(()),
        result = told_to_end() => result,
    }
}

/// What sends messages besides the keyboard. It never ends by itself: the last picture stays until the reader has seen it.
fn feed(
    options: &Options,
    messages: Sender<Message>,
    told: Receiver<Order>,
) -> Result<impl Future<Output = ()> + use<>, TopError> {
    let recording = options.replay.as_deref().map(record::read).transpose()?;
    let client = if recording.is_none() {
        Some(client(options)?)
    } else {
        None
    };
    Ok(async move {
        match (recording, client) {
            (Some(recording), _) => source::replay(recording, messages).await,
            (None, Some(client)) => {
                let watch = Stopwatch::start();
                let opened = Message::Opened {
                    address: client.address().to_owned(),
                    interval_ms: INTERVAL_MS,
                };
                if messages.send(opened).await.is_ok() {
                    let follow = source::follow(client, INTERVAL_MS, watch, messages.clone(), told);
                    tokio::join!(follow, source::tick(watch, messages));
                }
            }
            (None, None) => {}
        }
        std::future::pending().await
    })
}

/// Takes messages and draws what they make, as many messages as wait for one picture.
async fn drive(
    screen: &mut Screen,
    mut model: Model,
    mut inbox: Receiver<Message>,
    orders: Sender<Order>,
    mut recorder: Option<Recorder>,
) -> Result<(), TopError> {
    while let Some(message) = inbox.recv().await {
        let mut next = Some(message);
        while let Some(message) = next {
            let recorded = recorder.is_some().then(|| message.clone());
            let effect = update(&mut model, message);
            if effect == Effect::Quit {
                return Ok(());
            }
            if let (Some(recorder), Some(message)) = (&mut recorder, recorded) {
                recorder.write(&message)?;
            }
            perform(effect, screen, &orders)?;
            next = inbox.try_recv().ok();
        }
        screen.terminal().draw(|frame| view(&model, frame))?;
    }
    Ok(())
}

fn perform(effect: Effect, screen: &mut Screen, orders: &Sender<Order>) -> Result<(), TopError> {
    // A source that has more orders waiting than it can hold, or is a recording, does without this one.
    match effect {
        Effect::Refresh => drop(orders.try_send(Order::Refresh)),
        Effect::Interval(millis) => drop(orders.try_send(Order::Interval(millis))),
        Effect::Redraw => screen.terminal().clear()?,
        Effect::None | Effect::Quit => {}
    }
    Ok(())
}

/// Waits for the signal to end, so that the terminal is given back.
async fn told_to_end() -> Result<(), TopError> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut end, mut hang_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    tokio::select! {
        _ = end.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}
