//! Recordings: one message a line, as JSON. What is recorded is what moved the model, so that it moves it again.
use std::fs::File;
use std::io::{BufRead, BufReader, LineWriter, Write};
use std::path::Path;

use crate::event::Message;

/// What is wrong with a recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be made, read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A line is no message.
    #[error("{path}:{line}: no message of the dashboard: {source}")]
    Line {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
}

/// Writes messages to a file.
#[derive(Debug)]
pub struct Recorder {
    path: String,
    file: LineWriter<File>,
}

impl Recorder {
    /// A recorder to a new file.
    ///
    /// # Errors
    /// When the file exists already or cannot be made.
    pub fn create(path: &Path) -> Result<Self, RecordError> {
        let name = path.display().to_string();
        match File::create_new(path) {
            Ok(file) => Ok(Self {
                path: name,
                file: LineWriter::new(file),
            }),
            Err(source) => Err(RecordError::File { path: name, source }),
        }
    }

    /// Writes a message.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&mut self, message: &Message) -> Result<(), RecordError> {
        let text = serde_json::to_string(message).map_err(std::io::Error::other);
        let written = text.and_then(|text| self.file.write_all((text + "\n").as_bytes()));
        written.map_err(|source| RecordError::File {
            path: self.path.clone(),
            source,
        })
    }
}

/// Reads a recording.
///
/// # Errors
/// When the file cannot be read, or a line is no message.
pub fn read(path: &Path) -> Result<Vec<Message>, RecordError> {
    let name = || path.display().to_string();
    let file = File::open(path).map_err(|source| RecordError::File { path: name(), source })?;
    let message = |(index, line): (usize, std::io::Result<String>)| {
        let line = line.map_err(|source| RecordError::File { path: name(), source })?;
        serde_json::from_str(&line).map_err(|source| RecordError::Line {
            path: name(),
            line: index + 1,
            source,
        })
    };
    BufReader::new(file).lines().enumerate().map(message).collect()
}
