#!/usr/bin/python3
"""Stands in for kube-apiserver where there is none: takes the flags that kvlab gives it, makes its own
certificate, checks the token, keeps pods as keys in the store behind it (by python3-etcd3), and LISTs them
from there. It is not one: it proves that kvlab starts, trusts, asks, counts and ends such a server.

STAND_IN_FAULT: "dies" after 20 requests; "loses" a pod of each fifth LIST.
"""
import json, os, ssl, subprocess, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

if sys.argv[1:] == ["--version"]:
    print("Kubernetes v0.0.0-stand-in")
    sys.exit()
import etcd3  # after the version, which needs nothing

flags = dict(a.lstrip("-").split("=", 1) for a in sys.argv[1:])
for needed in ("etcd-servers", "secure-port", "cert-dir", "token-auth-file", "service-account-issuer",
               "service-account-key-file", "service-account-signing-key-file", "service-cluster-ip-range"):
    if needed not in flags:
        sys.exit(f"--{needed} is missing")
token = open(flags["token-auth-file"]).read().split(",")[0]
assert "PRIVATE KEY" in open(flags["service-account-signing-key-file"]).read()
host, port = flags["etcd-servers"].split(",")[0].removeprefix("http://").split(":")
store = etcd3.client(host=host, port=int(port), timeout=20)
fault, served, lock = os.environ.get("STAND_IN_FAULT", ""), [0], threading.Lock()

key, cert = (os.path.join(flags["cert-dir"], "apiserver." + e) for e in ("key", "crt"))
subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-subj", "/CN=stand-in", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert + ".new"],
               check=True, capture_output=True)
os.rename(cert + ".new", cert)
PODS = "/registry/pods/default/"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, text, chunked=False):
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if not chunked:
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            return
        self.send_header("Transfer-Encoding", "chunked")  # as Go's server does with what is long
        self.end_headers()
        for i in range(0, len(data), 1000):
            part = data[i:i + 1000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    def refused(self):
        if self.headers.get("Authorization") == "Bearer " + token:
            return False
        self.answer(401, '{"kind":"Status","code":401}')
        return True

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.refused():
            return
        name = json.loads(body)["metadata"]["name"]
        store.put(PODS + name, body)
        self.answer(201, body.decode())

    def do_GET(self):
        if self.refused():
            return
        if self.path == "/readyz":
            self.answer(200, "ok")
            return
        if self.path != "/api/v1/namespaces/default/pods":
            self.answer(404, "{}")
            return
        with lock:
            served[0] += 1
            if fault == "dies" and served[0] == 20:
                print("panic: stand-in", flush=True)
                os._exit(3)
            lose = fault == "loses" and served[0] % 5 == 0
        items = [json.loads(value) for value, _ in store.get_prefix(PODS)]
        self.answer(200, json.dumps({"kind": "PodList", "apiVersion": "v1", "items": items[1:] if lose else items},
                                    separators=(",", ":")), chunked=True)


server = ThreadingHTTPServer((flags["bind-address"], int(flags["secure-port"])), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
