//! A whole SMTP conversation through the TCP plane: a server that speaks first, and Python's own client.

use std::fs;

use evenkeel_testkit::{Peer, Ready, TempDir, skip, wait_until};

use crate::support::{start, tcp};
use crate::world::{PATIENCE, ask, missing};

/// Takes mail and writes each message to a file; says its port first. Ends lines and undoes dots as RFC 5321 says.
const SERVER: &str = r#"
import socketserver, sys, os
folder = sys.argv[1]
class Session(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")
    def handle(self):
        self.say("220 mail.example ESMTP")
        sender, to = None, []
        while True:
            line = self.rfile.readline()
            if not line:
                return
            words = line.decode().strip()
            verb = words[:4].upper()
            if verb == "EHLO":
                self.say("250-mail.example"); self.say("250-SIZE 50000000"); self.say("250 8BITMIME")
            elif verb == "MAIL":
                sender = words; self.say("250 ok")
            elif verb == "RCPT":
                if "nobody@" in words:
                    self.say("550 no such user")
                else:
                    to.append(words); self.say("250 ok")
            elif verb == "DATA":
                self.say("354 end with a dot")
                body = b""
                parts = []
                while True:
                    line = self.rfile.readline()
                    if not line:
                        return
                    if line == b".\r\n":
                        break
                    parts.append(line[1:] if line.startswith(b".") else line)
                name = os.path.join(folder, "mail-%d" % len(os.listdir(folder)))
                with open(name + ".new", "wb") as file:
                    file.write(b"".join(parts))
                os.rename(name + ".new", name)
                self.say("250 queued")
            elif verb == "RSET":
                sender, to = None, []
                self.say("250 ok")
            elif verb == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("500 what")
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
server = Server(("127.0.0.1", 0), Session)
print("port %d" % server.server_address[1], flush=True)
server.serve_forever()
"#;

/// Sends the message of a file to two people, and finds that a third one does not exist.
const CLIENT: &str = r#"
import smtplib, sys
port, path = int(sys.argv[1]), sys.argv[2]
with open(path, newline="") as file:
    message = file.read()
with smtplib.SMTP("127.0.0.1", port, timeout=20) as smtp:
    code, said = smtp.ehlo()
    assert code == 250 and b"8BITMIME" in said, said
    refused = smtp.sendmail("a@example", ["b@example", "nobody@example", "c@example"], message)
    assert list(refused) == ["nobody@example"], refused
print("sent")
"#;

#[test]
fn mail_is_delivered_through_the_tcp_plane() {
    if let Some(program) = missing(&["python3"]) {
        skip!("{program} is not installed");
    }
    let (dir, inbox) = (TempDir::new(), TempDir::new());
    let (server, client) = (dir.write("server.py", SERVER), dir.write("client.py", CLIENT));
    let args = [server.to_str().unwrap(), inbox.path().to_str().unwrap()];
    let peer = Peer::start("python3", &args, &Ready::Says("port ".to_owned()));
    let port: u16 = peer.stdout().trim().strip_prefix("port ").unwrap().parse().unwrap();
    let proxy = start(&tcp(&[format!("127.0.0.1:{port}")], ""));
    let web = proxy.listener_addr("web").port().to_string();
    // A megabyte with lines that begin with a dot, and one that is a dot.
    let line = |n: u32| if n.is_multiple_of(97) { ".\r\n".to_owned() } else { format!(".{n} are lines\r\n") };
    let message = format!("Subject: hello\r\n\r\n{}", (0..60_000).map(line).collect::<String>());
    let path = dir.write("message", &message);
    for sent in 1..=3 {
        assert_eq!(ask("python3", &[client.to_str().unwrap(), &web, path.to_str().unwrap()]), "sent");
        let files = || fs::read_dir(inbox.path()).unwrap().count();
        wait_until("the mail", PATIENCE, || files() == sent);
        let came = fs::read_to_string(inbox.path().join(format!("mail-{}", sent - 1))).unwrap();
        assert!(came == message, "{} bytes came of {}", came.len(), message.len());
    }
    wait_until("the end", PATIENCE, || proxy.admin_json("/api/v1/listeners")[0]["open"] == 0);
}
