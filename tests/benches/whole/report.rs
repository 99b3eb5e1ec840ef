//! What was measured, as a table for people and as JSON for whoever compares runs.

use std::fmt::Write as _;

use plinth_tests::workspace_root;
use serde_json::{Value, json};

/// What is asked of a figure.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// A limit or an explanation: nothing is asked.
    Nothing,
    AtLeast(f64),
    AtMost(f64),
    /// At least such a part of another figure of the same run.
    PartOf(f64, String),
}

#[derive(Debug, Clone)]
struct Figure {
    name: String,
    unit: &'static str,
    rounds: Vec<f64>,
    wanted: Wanted,
}

impl Figure {
    fn median(&self) -> f64 {
        median(&self.rounds)
    }
}

/// The figures of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<Figure>,
}

impl Report {
    /// Adds the value of one round to a figure.
    pub(crate) fn add(&mut self, name: &str, unit: &'static str, value: f64, wanted: Wanted) {
        println!("{name}: {} {unit}", short(value));
        if let Some(figure) = self.figures.iter_mut().find(|figure| figure.name == name) {
            figure.rounds.push(value);
            return;
        }
        self.figures.push(Figure {
            name: name.to_owned(),
            unit,
            rounds: vec![value],
            wanted,
        });
    }

    fn median_of(&self, name: &str) -> Option<f64> {
        let figure = self.figures.iter().find(|figure| figure.name == name);
        figure.map(Figure::median)
    }

    /// What is asked of the figure, what came of it, and whether that is enough.
    fn judged(&self, figure: &Figure) -> (String, String, Option<bool>) {
        let median = figure.median();
        match &figure.wanted {
            Wanted::Nothing => (String::new(), String::new(), None),
            Wanted::AtLeast(least) => {
                let part = format!("{:.2}", median / least);
                (format!("at least {}", short(*least)), part, Some(median >= *least))
            }
            Wanted::AtMost(most) => {
                let part = format!("{:.2}", median / most);
                (format!("at most {}", short(*most)), part, Some(median <= *most))
            }
            Wanted::PartOf(part, of) => match self.median_of(of) {
                Some(limit) if limit > 0.0 => {
                    let reached = median / limit;
                    (
                        format!("{part} of {of}"),
                        format!("{reached:.2}"),
                        Some(reached >= *part),
                    )
                }
                _ => (format!("{part} of {of}, which was not measured"), String::new(), None),
            },
        }
    }

    pub(crate) fn table(&self) -> String {
        let mut table =
            String::from("| figure | median | all rounds | wanted | reached | |\n|---|---|---|---|---|---|\n");
        for figure in &self.figures {
            let (wanted, reached, enough) = self.judged(figure);
            let mark = match enough {
                Some(true) => "yes",
                Some(false) => "MISSED",
                None => "",
            };
            let rounds: Vec<String> = figure.rounds.iter().map(|value| short(*value)).collect();
            // Writing to a string cannot fail.
            let _ = writeln!(
                table,
                "| {} | {} {} | {} | {wanted} | {reached} | {mark} |",
                figure.name,
                short(figure.median()),
                figure.unit,
                rounds.join(", ")
            );
        }
        table
    }

    /// Writes the run to `target/bench/whole.json`.
    pub(crate) fn keep(&self) {
        let figures: Vec<Value> = self
            .figures
            .iter()
            .map(|figure| {
                let (wanted, reached, enough) = self.judged(figure);
                json!({
                    "name": figure.name,
                    "unit": figure.unit,
                    "median": figure.median(),
                    "rounds": figure.rounds,
                    "wanted": wanted,
                    "reached": reached,
                    "enough": enough,
                })
            })
            .collect();
        let folder = workspace_root().join("target/bench");
        std::fs::create_dir_all(&folder).expect("a folder for the result");
        let file = folder.join("whole.json");
        let text = serde_json::to_string_pretty(&json!({ "figures": figures })).expect("figures are JSON");
        std::fs::write(&file, text).expect("room for the result");
        println!("kept in {}", file.display());
    }
}

/// The middle value.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn short(value: f64) -> String {
    if value.abs() >= 1_000.0 {
        let whole = format!("{value:.0}");
        let (head, tail) = whole.split_at(whole.len() - 3);
        format!("{head},{tail}")
    } else if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}
