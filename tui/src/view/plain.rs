//! The overview as lines of text, for pipes and reports.
use super::profile::ascii;
use crate::format::{seconds, short};
use crate::model::{Model, Screen};
use crate::panel::{Fact, panels};
use crate::warning::Severity;

/// The overview as text; empty before the first figures. Letters that could steer a terminal are taken out.
pub fn plain(model: &Model) -> String {
    let Some(stats) = &model.shown().latest else {
        return String::new();
    };
    let up = seconds(stats.uptime_seconds);
    let mut lines = vec![format!(
        "plinth {}   v{}   up {up}   node {}",
        model.address,
        stats.version,
        short(&stats.node)
    )];
    let dependencies: Vec<String> = stats
        .health
        .dependencies
        .iter()
        .map(|dependency| format!("{} {}", dependency.name, dependency.status))
        .collect();
    lines.push(format!("{}: {}", stats.health.status, dependencies.join(", ")));
    for warning in model.warnings() {
        let word = if warning.severity == Severity::Severe {
            "severe"
        } else {
            "warning"
        };
        lines.push(format!("{word}: {}", warning.text));
    }
    lines.push(String::new());
    let panels = panels(model.shown(), Screen::Overview);
    let titles = panels.iter().map(|panel| panel.title.len()).max().unwrap_or(0);
    let heads = panels.iter().map(|panel| panel.head.chars().count()).max().unwrap_or(0);
    for panel in &panels {
        let facts: Vec<String> = panel.facts.iter().flatten().map(Fact::text).collect();
        let line = format!("{:titles$}  {:heads$}  {}", panel.title, panel.head, facts.join("   "));
        lines.push(line.trim_end().to_owned());
    }
    let clean = |letter: char| match letter {
        letter if letter.is_control() => '?',
        letter if model.profile.ascii => ascii(letter),
        letter => letter,
    };
    lines
        .iter()
        .map(|line| line.chars().map(clean).collect::<String>() + "\n")
        .collect()
}
