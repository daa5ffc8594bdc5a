//! WebSocket clients and servers that others wrote, through the HTTP plane.

use std::time::Duration;

use evenkeel_testkit::{Nginx, Origin, TempDir, WebSocket, reserve_port, skip};

use crate::support::{http, start};
use crate::world::{ask, missing};

/// A client of RFC 6455 on Python's sockets: sends messages of many sizes and wants each of them back.
const CLIENT: &str = r#"
import base64, hashlib, os, socket, struct, sys
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20)
file = sock.makefile("rb")
key = base64.b64encode(os.urandom(16)).decode()
sock.sendall(("GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
              "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n" % key).encode())
status = file.readline()
assert b" 101 " in status, status
fields = {}
while True:
    line = file.readline().strip()
    if not line:
        break
    name, value = line.decode().split(":", 1)
    fields[name.lower()] = value.strip()
wanted = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
assert fields["sec-websocket-accept"] == wanted, fields
assert fields["upgrade"].lower() == "websocket" and "upgrade" in fields["connection"].lower(), fields

def send(opcode, payload):
    mask = os.urandom(4)
    size = len(payload)
    head = struct.pack("!B", 0x80 | opcode)
    if size < 126:
        head += struct.pack("!B", 0x80 | size)
    elif size < 65536:
        head += struct.pack("!BH", 0x80 | 126, size)
    else:
        head += struct.pack("!BQ", 0x80 | 127, size)
    mask_all = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(mask_all, "big")).to_bytes(size, "big") if size else b""
    sock.sendall(head + mask + masked)

def receive():
    first, size = struct.unpack("!BB", file.read(2))
    if size == 126:
        size, = struct.unpack("!H", file.read(2))
    elif size == 127:
        size, = struct.unpack("!Q", file.read(8))
    return first & 15, file.read(size)

for n in range(300):
    text = ("message %d " % n).encode() * (n % 50 + 1)
    send(1, text)
    assert receive() == (1, text), n
for size in (0, 125, 126, 65535, 65536, 1000000):
    text = b"x" * size
    send(1, text)
    assert receive() == (1, text), size
send(8, struct.pack("!H", 1000))
opcode, _ = receive()
assert opcode == 8, opcode
print("306 messages")
"#;

#[test]
fn a_python_client_talks_through_an_upgrade() {
    if let Some(program) = missing(&["python3"]) {
        skip!("{program} is not installed");
    }
    let (dir, origin) = (TempDir::new(), Origin::start("a"));
    let client = dir.write("client.py", CLIENT);
    let proxy = start(&http(&[origin.addr()], ""));
    let port = proxy.listener_addr("web").port().to_string();
    assert_eq!(ask("python3", &[client.to_str().unwrap(), &port]), "306 messages");
}

#[test]
fn nginx_between_us_and_the_origin_upgrades_too() {
    if let Some(program) = missing(&["nginx"]) {
        skip!("{program} is not installed");
    }
    let (port, origin) = (reserve_port(), Origin::start("a"));
    let conf = format!(
        "user root; events {{ worker_connections 64; }}\n\
         http {{\n\
           client_body_temp_path {{dir}}/body; proxy_temp_path {{dir}}/proxy; fastcgi_temp_path {{dir}}/fastcgi;\n\
           uwsgi_temp_path {{dir}}/uwsgi; scgi_temp_path {{dir}}/scgi; access_log off;\n\
           server {{\n\
             listen {}; location / {{ proxy_pass http://{}; proxy_http_version 1.1;\n\
             proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\"; }}\n\
           }}\n\
         }}\n",
        port.addr(),
        origin.addr()
    );
    let _nginx = Nginx::start(&conf, port.addr());
    let proxy = start(&http(&[port.addr()], ""));
    let mut socket = WebSocket::connect(proxy.listener_addr("web"), "/", Duration::from_secs(20)).unwrap();
    for n in 0..100 {
        let text = format!("message {n} {}", "x".repeat(n * 30));
        socket.send(&text).unwrap();
        assert_eq!(socket.receive().as_deref(), Ok(text.as_str()));
    }
    socket.close().unwrap();
}
