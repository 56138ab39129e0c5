#!/usr/bin/python3
"""What systemd sees of kvd: READY=1 once it serves, STOPPING=1 and the end by the signal on SIGTERM; and the
goroutine dump on SIGQUIT, after which it serves on."""
import os, re, signal, socket, subprocess, sys, tempfile, urllib.request

root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
build = os.path.join(root, os.environ.get("KVD_BUILD", "build"))
failed = 0


def check(name, ok, detail=""):
    global failed
    failed += not ok
    print(f"{'ok' if ok else 'not ok'} - {name}" + ("" if ok else f"\n#   {detail}"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


with tempfile.TemporaryDirectory() as folder:
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(os.path.join(folder, "notify"))
    notify.settimeout(60)
    client, peer, metrics = free_port(), free_port(), free_port()
    log_path = os.path.join(folder, "log")
    kvd = subprocess.Popen(
        [os.path.join(build, "kvd"), "--data-dir", os.path.join(folder, "data"),
         "--listen-client-urls", f"http://127.0.0.1:{client}", "--advertise-client-urls", f"http://127.0.0.1:{client}",
         "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
         "--initial-cluster", f"default=http://127.0.0.1:{peer}", "--listen-metrics-urls", f"http://127.0.0.1:{metrics}"],
        stderr=open(log_path, "w"), env={**os.environ, "NOTIFY_SOCKET": os.path.join(folder, "notify")})
    try:
        check("the supervisor is told READY=1", notify.recv(100) == b"READY=1")
        mode = os.stat(os.path.join(folder, "data")).st_mode & 0o777
        check("the data directory is for its owner only", mode == 0o700, oct(mode))
        dump = urllib.request.urlopen(f"http://127.0.0.1:{metrics}/debug/goroutines", timeout=20).read().decode()
        check("the metrics port shows the goroutines", "wal-writer" in dump and "raft" in dump, dump[:300])
        kvd.send_signal(signal.SIGQUIT)
        health = urllib.request.urlopen(f"http://127.0.0.1:{metrics}/health", timeout=20).read().decode()
        check("after SIGQUIT it serves on", '"health":"true"' in health, health)
        kvd.send_signal(signal.SIGTERM)
        check("the supervisor is told STOPPING=1", notify.recv(100) == b"STOPPING=1")
        check("it ends by the signal", kvd.wait(20) == -signal.SIGTERM, str(kvd.returncode))
        log = open(log_path).read()
        check("the first line names the poller that was chosen, and why",
              re.search(r'"msg":"starting kvd".*"poller":"(epoll|io_uring)","poller-why":"[^"]', log), log[:400])
        check("it says how stacks are guarded and put away, and whether goroutines are preempted",
              re.search(r'"msg":"starting kvd".*"stacks":"[^"]+","spilling":"(on|off): [^"]+","preemption":"(on|off): [^"]', log), log[:600])
        check("SIGQUIT printed the goroutines", "goroutine " in log and "wal-writer" in log, log[-300:])
    except Exception as e:
        check("the conversation goes through", False, f"{type(e).__name__}: {e}; {open(log_path).read()[-500:]}")
    finally:
        kvd.kill()
        kvd.wait()
sys.exit(1 if failed else 0)
