//! The counter: results are handed out here, as text for people or as JSON for programs.

use std::io::{self, BufWriter, Stdout, StdoutLock, Write};

use serde::Serialize;

/// Standard output, which may end before we do, and whose errors say that they are its.
#[derive(Debug)]
pub(crate) struct Named<W>(W);

#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
struct CannotWrite(#[source] io::Error);

impl<W: Write> Write for Named<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(named)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(named)
    }
}

/// The kind stays: an interrupted write is tried again, and who has read enough is no failure.
fn named(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), CannotWrite(error))
}

/// Standard output.
pub(crate) fn stdout() -> BufWriter<Named<StdoutLock<'static>>> {
    BufWriter::with_capacity(64 << 10, Named(io::stdout().lock()))
}

/// Standard output for a writer that may be handed to other threads.
pub(crate) fn stdout_unlocked() -> BufWriter<Named<Stdout>> {
    BufWriter::with_capacity(64 << 10, Named(io::stdout()))
}

/// Prints one value as JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut out = stdout();
    serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Prints text.
pub(crate) fn text(text: &str) -> anyhow::Result<()> {
    let mut out = Named(io::stdout());
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// A JSON object that is written while it is found out: one long array, and then the rest.
pub(crate) struct JsonStream<W> {
    out: W,
    is_first: bool,
}

impl<W: Write> JsonStream<W> {
    /// Begins an object whose first member is the array `name`.
    pub(crate) fn begin(mut out: W, name: &str) -> io::Result<Self> {
        write!(out, "{{\"{name}\":[")?;
        Ok(Self { out, is_first: true })
    }

    /// Adds a value to the array.
    pub(crate) fn push(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.out.write_all(if self.is_first { b"\n" } else { b",\n" })?;
        self.is_first = false;
        Ok(serde_json::to_writer(&mut self.out, value)?)
    }

    /// Ends the array and adds the members of `rest`, which is an object.
    pub(crate) fn end(mut self, rest: &serde_json::Map<String, serde_json::Value>) -> io::Result<()> {
        self.out.write_all(b"\n]")?;
        for (name, value) in rest {
            write!(self.out, ",\n{}:{value}", serde_json::Value::from(name.as_str()))?;
        }
        self.out.write_all(b"}\n")?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_stream_is_one_json_object() {
        let rest = json!({"errors": ["a\"b"], "count": 2});
        for count in 0..3 {
            let mut out = Vec::new();
            let mut stream = JsonStream::begin(&mut out, "entries").unwrap();
            (0..count).for_each(|n| stream.push(&json!({"n": n})).unwrap());
            stream.end(rest.as_object().unwrap()).unwrap();
            let read: Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(read["entries"].as_array().unwrap().len(), count);
            assert_eq!(read["errors"], json!(["a\"b"]));
            assert_eq!(read["count"], 2);
        }
    }
}
