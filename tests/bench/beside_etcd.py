#!/usr/bin/python3
"""kvd beside etcd on this machine, in one run: three members each on the same file system, loaded at
the leader by h2load (nghttp2-client), in interleaved pairs.

h2load counts gRPC errors and any 200 as success, so every run is checked: the revision must have risen
by exactly the number of puts, and the bytes answered must be those of as many correct gets. A run that
does not add up ends the benchmark with an error.

Usage: beside_etcd.py [BUILD-FOLDER] [--pairs N] [--rows REGEX] [--out FILE.json]
"""
import argparse, json, os, re, shutil, signal, socket, statistics, subprocess, sys, tempfile, time

ROWS = [  # name, kind, connections, streams, requests
    ("put 1x1", "put", 1, 1, 1500),
    ("put 64x1", "put", 64, 1, 12000),
    ("put 64x16", "put", 64, 16, 40000),
    ("get linearizable 1x1", "lin", 1, 1, 3000),
    ("get linearizable 64x1", "lin", 64, 1, 16000),
    ("get linearizable 64x16", "lin", 64, 16, 40000),
    ("get serializable 1x1", "ser", 1, 1, 6000),
    ("get serializable 64x1", "ser", 64, 1, 24000),
    ("get serializable 64x16", "ser", 64, 16, 50000),
]
KEY, VALUE = b"bench/key-0123456789", b"v" * 256
PATH = {"put": "/etcdserverpb.KV/Put", "lin": "/etcdserverpb.KV/Range", "ser": "/etcdserverpb.KV/Range"}


def field(number, data):
    out, n = bytes([number << 3 | 2]), len(data)
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n]) + data


def request(kind):
    body = field(1, KEY) + (field(2, VALUE) if kind == "put" else b"") + (b"\x38\x01" if kind == "ser" else b"")
    return b"\0" + len(body).to_bytes(4, "big") + body


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Cluster:
    def __init__(self, name, program, folder):
        self.name, self.folder = name, os.path.join(folder, name)
        os.mkdir(self.folder)
        ports = free_ports(6)
        self.client = [f"127.0.0.1:{p}" for p in ports[:3]]
        peer = [f"http://127.0.0.1:{p}" for p in ports[3:]]
        cluster = ",".join(f"m{i}={peer[i]}" for i in range(3))
        self.processes = []
        for i in range(3):
            self.processes.append(subprocess.Popen(
                [program, "--name", f"m{i}", "--data-dir", f"{self.folder}/m{i}",
                 "--listen-client-urls", f"http://{self.client[i]}", "--advertise-client-urls", f"http://{self.client[i]}",
                 "--listen-peer-urls", peer[i], "--initial-advertise-peer-urls", peer[i],
                 "--initial-cluster", cluster], stderr=open(f"{self.folder}/m{i}.log", "w"), stdout=subprocess.DEVNULL))
        for _ in range(150):
            time.sleep(0.2)
            if self.etcdctl("endpoint", "health", check=False) is not None:
                break
        else:
            raise SystemExit(f"{name} does not become healthy; logs in {self.folder}")
        self.leader = self.find_leader()

    def etcdctl(self, *args, check=True, endpoints=None):
        run = subprocess.run(["etcdctl", "--endpoints", endpoints or ",".join(self.client), *args], capture_output=True,
                             text=True, env={**os.environ, "ETCDCTL_API": "3"})
        if run.returncode and check:
            raise SystemExit(f"etcdctl {' '.join(args)} on {self.name}: {run.stderr.strip()}")
        return None if run.returncode else run.stdout

    def find_leader(self):
        for s in json.loads(self.etcdctl("endpoint", "status", "-w", "json")):
            if s["Status"]["leader"] == s["Status"]["header"]["member_id"]:
                return s["Endpoint"]
        raise SystemExit(f"{self.name} has no leader")

    def revision(self):
        out = json.loads(self.etcdctl("get", "none", "-w", "json", endpoints=self.leader))
        return out["header"]["revision"]

    def memory(self):
        """RssAnon and RssFile of the three members in MiB, added up."""
        anon = file = 0
        for p in self.processes:
            text = open(f"/proc/{p.pid}/status").read()
            anon += int(re.search(r"RssAnon:\s+(\d+)", text)[1])
            file += int(re.search(r"RssFile:\s+(\d+)", text)[1])
        return anon / 1024, file / 1024

    def stop(self):
        for p in self.processes:
            p.send_signal(signal.SIGKILL)
            p.wait()


def h2load(cluster, kind, connections, streams, count, folder, rate=0):
    """One run at the leader, all of it answered: (requests a second, bytes of data answered). With a rate that many
    a second, else each as soon as the one before it is answered. Whether the answers are right is for who asks."""
    data = f"{folder}/{kind}.bin"
    if not os.path.exists(data):
        with open(data, "wb") as f:
            f.write(request(kind))
    pace = [f"--rps={rate / connections:g}"] if rate else []
    run = subprocess.run(["h2load", "-n", str(count), "-c", str(connections), "-m", str(streams), "-t", "1", *pace, "-d", data,
                          "-H", "content-type: application/grpc", "-H", "te: trailers",
                          f"http://{cluster.leader}{PATH[kind]}"], capture_output=True, text=True)
    done = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", run.stdout)
    speed = re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s", run.stdout)
    if not done or not speed or done.groups() != (str(count), "0", "0", "0"):
        raise SystemExit(f"{cluster.name}, {kind} {connections}x{streams}: h2load says\n{run.stdout}{run.stderr}")
    return float(speed[1]), int(re.search(r"\((\d+)\) data", run.stdout)[1])


def probe(cluster, kind):
    """The bytes that one get answers."""
    run = subprocess.run(["curl", "-s", "--http2-prior-knowledge", "-H", "content-type: application/grpc", "-H", "te: trailers",
                          "--data-binary", "@-", f"http://{cluster.leader}{PATH[kind]}"], input=request(kind), capture_output=True)
    if VALUE not in run.stdout:
        raise SystemExit(f"{cluster.name}: a get does not return the value")
    return len(run.stdout)


def load(cluster, kind, connections, streams, count, folder):
    """One h2load run at the leader, checked. Requests a second."""
    before = cluster.revision()
    answer = probe(cluster, kind) if kind != "put" else 0
    rate, got = h2load(cluster, kind, connections, streams, count, folder)
    if kind == "put":
        rise = cluster.revision() - before
        if rise != count:
            raise SystemExit(f"{cluster.name}: {count} puts raised the revision by {rise}")
    # The header's varints (revision, term, commit) are the same for all: nothing writes meanwhile.
    elif got != answer * count:
        raise SystemExit(f"{cluster.name}: {count} gets of {answer} bytes answered {got} bytes")
    return rate


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", nargs="?", default="build")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--rows", default="")
    parser.add_argument("--out")
    options = parser.parse_args()
    missing = [t for t in ("etcd", "etcdctl", "h2load", "curl") if not shutil.which(t)]
    if missing:
        sys.exit(f"the benchmark needs {', '.join(missing)}: deploy/deps.sh bench")
    folder = tempfile.mkdtemp(prefix="kvd-bench.", dir=options.build)
    clusters = []
    try:
        clusters = [Cluster("kvd", os.path.join(options.build, "kvd"), folder), Cluster("etcd", "etcd", folder)]
        kvd, etcd = clusters
        for c in clusters:
            load(c, "put", 8, 4, 500, folder)  # the key exists, caches are warm
        print(f"{'row':26} {'kvd req/s':>10} {'etcd req/s':>10} {'ratio':>7}   ratios of {options.pairs} pairs, lowest to highest")
        results, least = [], 1e9
        for name, kind, connections, streams, count in ROWS:
            if not re.search(options.rows, name):
                continue
            a, b = [], []
            for pair in range(options.pairs):
                for c, out in [(kvd, a), (etcd, b)] if pair % 2 == 0 else [(etcd, b), (kvd, a)]:
                    out.append(load(c, kind, connections, streams, count, folder))
            ratios = sorted(x / y for x, y in zip(a, b))
            median = statistics.median(ratios)
            least = min(least, median)
            results.append({"row": name, "kvd": a, "etcd": b, "median_ratio": median})
            print(f"{name:26} {statistics.median(a):10.0f} {statistics.median(b):10.0f} {median:6.2f}x   "
                  + " ".join(f"{r:.2f}" for r in ratios), flush=True)
        memory = {c.name: c.memory() for c in clusters}
        for name, (anon, file) in memory.items():
            print(f"memory of three members, {name}: {anon:.1f} MiB anonymous, {file:.1f} MiB of files")
        if options.out:
            json.dump({"rows": results, "memory_mib": memory}, open(options.out, "w"), indent=1)
        print(f"lowest median ratio: {least:.2f}")
    finally:
        for c in clusters:
            c.stop()
        if sys.exc_info()[0] is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
