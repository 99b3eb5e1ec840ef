//! The stream of figures as the operations listener sends it: server-sent events, each with one line of data.
use crate::client::{MAX_BODY_BYTES, told};
use crate::{ClientError, StatsBody};

/// The figures of one server, again and again. Dropping it ends it.
#[derive(Debug)]
pub struct StatsStream {
    response: reqwest::Response,
    lines: Lines,
}

impl StatsStream {
    pub(crate) fn new(response: reqwest::Response) -> Self {
        Self {
            response,
            lines: Lines::default(),
        }
    }

    /// The next figures; none when the server ended the stream, as it does when it drains.
    ///
    /// # Errors
    /// When nothing comes for much longer than was asked for, the connection breaks, or what comes cannot be read. The
    /// stream is over then.
    pub async fn next(&mut self) -> Result<Option<StatsBody>, ClientError> {
        loop {
            while let Some(line) = self.lines.next() {
                if let Some(data) = line.strip_prefix(b"data:") {
                    let stats = serde_json::from_slice(data).map_err(|error| ClientError::Body(error.to_string()))?;
                    return Ok(Some(stats));
                }
            }
            match self.response.chunk().await.map_err(|error| told(&error))? {
                Some(chunk) => self.lines.add(&chunk)?,
                None => return Ok(None),
            }
        }
    }
}

/// Bytes that come in pieces, given out by whole lines.
#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    /// How many of them were given out.
    given: usize,
}

impl Lines {
    fn add(&mut self, chunk: &[u8]) -> Result<(), ClientError> {
        self.bytes.drain(..self.given);
        self.given = 0;
        self.bytes.extend_from_slice(chunk);
        if self.bytes.len() > MAX_BODY_BYTES {
            return Err(ClientError::Body(format!(
                "one of its parts has more than {MAX_BODY_BYTES} bytes"
            )));
        }
        Ok(())
    }

    fn next(&mut self) -> Option<&[u8]> {
        let rest = &self.bytes[self.given..];
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let line = self.given..self.given + end;
        self.given += end + 1;
        Some(&self.bytes[line])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_given_out_whole_however_they_come() {
        let mut lines = Lines::default();
        let mut got = Vec::new();
        for piece in ["da", "ta: 1\n\nev", "ent: x\n", "\ndata: 2"] {
            lines.add(piece.as_bytes()).unwrap();
            while let Some(line) = lines.next() {
                got.push(String::from_utf8_lossy(line).into_owned());
            }
        }
        assert_eq!(got, ["data: 1", "", "event: x", ""]);
        lines.add(b"\n").unwrap();
        assert_eq!(lines.next(), Some(b"data: 2".as_slice()));
    }

    #[test]
    fn a_line_without_an_end_is_refused_in_time() {
        let mut lines = Lines::default();
        assert!(lines.add(&vec![b'x'; MAX_BODY_BYTES]).is_ok());
        assert!(matches!(lines.add(b"x"), Err(ClientError::Body(_))));
    }
}
