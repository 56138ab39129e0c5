#!/usr/bin/python3
"""python-etcd3, unmodified, against one member: put, get, watch, a transaction, a lease, a lock."""
import os, signal, socket, subprocess, sys, tempfile, time

root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
build = os.path.join(root, os.environ.get("KVD_BUILD", "build"))
os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
try:
    import etcd3
except Exception as e:  # the package, or its protobuf, is absent
    print(f"ok - python-etcd3 # SKIP python3-etcd3 is not usable: {e}")
    sys.exit(0)

failed = 0


def check(name, got, wanted):
    global failed
    if got == wanted:
        print(f"ok - {name}")
    else:
        failed += 1
        print(f"not ok - {name}\n#   got {got!r}, wanted {wanted!r}")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


running = os.environ.get("KVD_TEST_ENDPOINTS")  # a cluster that is up already
with tempfile.TemporaryDirectory() as folder:
    port, peer = free_port(), free_port()
    log = open(os.path.join(folder, "log"), "w+")
    if running:
        port = int(running.split(",")[0].split(":")[1])
    kvd = None if running else subprocess.Popen(
        [os.path.join(build, "kvd"), "--data-dir", os.path.join(folder, "data"),
         "--listen-client-urls", f"http://127.0.0.1:{port}", "--advertise-client-urls", f"http://127.0.0.1:{port}",
         "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
         "--initial-cluster", f"default=http://127.0.0.1:{peer}"], stderr=log)
    try:
        client = etcd3.client(host="127.0.0.1", port=port, timeout=10)
        for _ in range(200):
            try:
                client.status()
                break
            except Exception:
                time.sleep(0.05)
        events, cancel = client.watch("key")
        client.put("key", "one")
        check("get returns what was put", client.get("key")[0], b"one")
        first = next(events)
        check("a watch sees the put", (first.key, first.value), (b"key", b"one"))
        ok, _ = client.transaction(compare=[client.transactions.value("key") == "one"],
                                   success=[client.transactions.put("key", "two")],
                                   failure=[client.transactions.put("key", "never")])
        check("a transaction takes the success branch", (ok, client.get("key")[0]), (True, b"two"))
        check("the watch sees the transaction", next(events).value, b"two")
        cancel()
        client.put("key2", "x")
        check("get_prefix lists both", sorted(v for v, _ in client.get_prefix("key")), [b"two", b"x"])
        check("delete removes", (client.delete("key"), client.get("key")[0]), (True, None))
        lease = client.lease(60)
        client.put("leased", "v", lease=lease)
        check("a lease lists its keys", list(lease.keys), [b"leased"])
        lease.revoke()
        check("revoking a lease removes its key", client.get("leased")[0], None)
        with client.lock("mutex", ttl=20) as lock:
            check("a lock is held inside with", lock.is_acquired(), True)
        check("members lists all", len(list(client.members)), 3 if running else 1)
    except Exception as e:
        failed += 1
        print(f"not ok - the conversation goes through\n#   {type(e).__name__}: {e}")
        log.flush(); log.seek(0)
        print("".join("#   " + line[:200] + "\n" for line in log.read().splitlines()[-10:]))
    finally:
        if kvd:
            kvd.send_signal(signal.SIGKILL)
            kvd.wait()
sys.exit(1 if failed else 0)
