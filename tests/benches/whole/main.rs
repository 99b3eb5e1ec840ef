//! How fast Plinth is: the built binary under load, beside the limits of what it stands on, in one run.
//!
//! `cargo bench -p plinth-tests --bench whole -- [SECTION...] [--rounds N] [--seconds N]`; `scripts/bench` starts a
//! durable PostgreSQL around it. Ours and the limits take turns within every round, so that a machine that slows down
//! slows both; the figures are medians of the rounds. What cannot be had is said and left out.
#![expect(clippy::print_stdout, reason = "the table is what a bench is for")]
#![expect(
    clippy::disallowed_methods,
    reason = "what is measured here is the time of the machine"
)]

mod accounts;
mod aged;
mod audit;
mod edge;
mod events;
mod files;
mod kafka;
mod load;
mod loaded;
mod logins;
mod peers;
mod process;
mod report;
mod sequencer;
mod starts;

use std::time::Duration;

use report::Report;

/// What is measured, in the order in which it is.
const SECTIONS: [&str; 11] = [
    "edge",
    "accounts",
    "events",
    "loaded",
    "kafka",
    "aged",
    "sequencer",
    "audit",
    "logins",
    "files",
    "starts",
];

/// How a run is made.
struct Plan {
    sections: Vec<String>,
    rounds: usize,
    /// How long one subject is loaded in one round.
    length: Duration,
}

impl Plan {
    fn read(arguments: impl Iterator<Item = String>) -> Self {
        let mut plan = Self {
            sections: Vec::new(),
            rounds: 3,
            length: Duration::from_secs(3),
        };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let next = arguments.next().and_then(|text| text.parse::<u64>().ok());
                next.unwrap_or_else(|| panic!("{argument} takes a number"))
            };
            match argument.as_str() {
                // Cargo's own word to every bench.
                "--bench" => {}
                "--rounds" => plan.rounds = usize::try_from(number()).expect("a few rounds"),
                "--seconds" => plan.length = Duration::from_secs(number()),
                name if SECTIONS.contains(&name) => plan.sections.push(name.to_owned()),
                other => panic!("{other}: the sections are {}", SECTIONS.join(", ")),
            }
        }
        if plan.sections.is_empty() {
            plan.sections = SECTIONS.map(str::to_owned).to_vec();
        }
        plan
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.peek().is_some_and(|first| first == "--peer") {
        let arguments: Vec<String> = arguments.skip(1).collect();
        peers::run(&arguments);
        return;
    }
    let plan = Plan::read(arguments);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(measure(&plan));
}

async fn measure(plan: &Plan) {
    let mut report = Report::default();
    for section in &plan.sections {
        println!("== {section}");
        match section.as_str() {
            "edge" => edge::measure(plan, &mut report).await,
            "accounts" => accounts::measure(plan, &mut report).await,
            "events" => events::measure(plan, &mut report).await,
            "loaded" => loaded::measure(plan, &mut report).await,
            "kafka" => kafka::measure(plan, &mut report).await,
            "aged" => aged::measure(plan, &mut report).await,
            "sequencer" => sequencer::measure(plan, &mut report).await,
            "audit" => audit::measure(plan, &mut report).await,
            "logins" => logins::measure(plan, &mut report).await,
            "files" => files::measure(plan, &mut report).await,
            _ => starts::measure(plan, &mut report).await,
        }
    }
    println!("\n{}", report.table());
    report.keep();
}
