//! An admin API that says what a test wants it to say, over real sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::cli::Global;
use crate::client::{ApiUrl, Client, Token};
use crate::color::Color;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Method and path, as `GET /x`.
    pub(crate) line: String,
    /// All fields, names in lower case.
    pub(crate) fields: String,
    /// The body.
    pub(crate) body: String,
}

/// What to answer.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// JSON with this status; the connection is kept.
    Json(u16, String),
    /// Just these bytes; then the connection ends.
    Raw(&'static str),
    /// The same as JSON with status 200, and then the connection ends without a warning.
    JsonAndClose(String),
    /// Nothing, for as long as the client waits.
    Nothing,
}

/// A server for one test; its threads end with the process.
pub(crate) struct FakeApi {
    url: ApiUrl,
    asked: Receiver<Asked>,
}

impl FakeApi {
    /// Answers each request by this function.
    pub(crate) fn start(reply: impl FnMut(&Asked) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (sender, asked) = channel();
        thread::spawn(move || serve(&listener, &sender, reply));
        Self { url, asked }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> ApiUrl {
        self.url.clone()
    }

    /// A client of it.
    pub(crate) fn client(&self) -> Client {
        Client::to(self.url(), None, Duration::from_secs(5)).unwrap()
    }

    /// What a command line with this `--api` and `--token` says.
    pub(crate) fn global(&self, token: Option<&str>) -> Global {
        let token: Option<Token> = token.map(|token| token.parse().unwrap());
        Global { api: Some(self.url()), token, color: Color::Never }
    }

    /// The requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.try_iter().collect()
    }

    /// Their lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

fn serve(listener: &TcpListener, sender: &Sender<Asked>, mut reply: impl FnMut(&Asked) -> Reply) {
    for stream in listener.incoming() {
        let mut reader = BufReader::new(stream.unwrap());
        while let Some(asked) = read(&mut reader) {
            let reply = reply(&asked);
            let _ = sender.send(asked);
            let (text, is_kept) = match reply {
                Reply::Json(status, body) => (json(status, &body), true),
                Reply::JsonAndClose(body) => (json(200, &body), false),
                Reply::Raw(text) => (text.to_owned(), false),
                Reply::Nothing => {
                    // The client's end of the connection is what ends the wait.
                    let _ = reader.read(&mut [0; 1]);
                    break;
                }
            };
            if reader.get_mut().write_all(text.as_bytes()).is_err() || !is_kept {
                break;
            }
        }
    }
}

fn json(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn read(reader: &mut impl BufRead) -> Option<Asked> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let line = line.trim_end().strip_suffix(" HTTP/1.1").unwrap().to_owned();
    let mut fields = String::new();
    loop {
        let before = fields.len();
        reader.read_line(&mut fields).ok()?;
        if fields[before..].trim().is_empty() {
            break;
        }
    }
    let length = fields
        .lines()
        .find_map(|field| field.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { line, fields, body: String::from_utf8(body).unwrap() })
}
