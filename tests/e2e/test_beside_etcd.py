#!/usr/bin/python3
"""The same random requests to Debian's etcd and to kvd, one member each: every answer, every error and
every HashKV must be the same, and so must what watches replay. Ids and raft's term are masked; what
differs on purpose is in the table EXPLAINED. Without etcd, python3-grpcio or python3-etcd3: skipped.

Settings: KVD_SEED (from the clock, printed), KVD_REQUESTS (1200)."""
import os, random, shutil, signal, socket, subprocess, sys, tempfile, time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
BUILD = os.path.join(ROOT, os.environ.get("KVD_BUILD", "build"))
os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
ETCD = shutil.which("etcd")
NAME = "kvd answers as etcd does"
try:
    import grpc
    from etcd3.etcdrpc import rpc_pb2 as rpc, rpc_pb2_grpc as stubs, kv_pb2 as kv
except Exception as e:
    print(f"ok - {NAME} # SKIP python3-grpcio and python3-etcd3 are not usable: {e}")
    sys.exit(0)
if not ETCD:
    print(f"ok - {NAME} # SKIP etcd-server is not installed")
    sys.exit(0)

SEED = int(os.environ.get("KVD_SEED") or time.time())
REQUESTS = int(os.environ.get("KVD_REQUESTS") or 1200)
rnd = random.Random(SEED)
# Never more than twelve keys live at once: only so far does Go sort equal elements in a stable way, and
# with it etcd a range ordered by something that keys share.
KEYS = [b"a", b"a\0", b"aa", b"b", b"b/1", b"b/2", b"\0", b"\xff", b"\xff\xff", b"key"]
LEASES = [1, 2, 77, 0x7FFFFFFFFFFFFFFF]

# What differs on purpose: (why, does this pair of answers differ for that reason?). An answer is
# (code, words, message); words and message are None where there is none. Two more are not asked for, as
# both sides would go on from different states or with a choice among equals:
#   - etcd sorts by a target other than the key without an order, but with a limit, only the first
#     limit + 1 keys of the range; kvd sorts all, then cuts;
#   - etcd overlooks in a transaction that a put falls into a deletion of everything from a key on;
#     kvd refuses it as it does every other put of a key that the same transaction deletes.
EXPLAINED = [
    ("etcd before 3.6 takes a sort order or target that does not exist",
     lambda method, request, etcd, kvd: kvd[1] == "etcdserver: invalid sort option"),
    ("to etcd the hash of a revision below 0 is that of nothing; kvd takes it for the newest",
     lambda method, request, etcd, kvd: method == "HashKV" and request.revision < 0),
    ("etcd before 3.5 refuses the hash of exactly the compact revision",
     lambda method, request, etcd, kvd: method == "HashKV" and kvd[0] == "OK" and "compacted" in str(etcd[1])
     and request.revision == kvd[2].compact_revision),
]


class Member:
    def __init__(self, name, program, folder):
        self.name = name
        with socket.socket() as a, socket.socket() as b:
            a.bind(("127.0.0.1", 0))
            b.bind(("127.0.0.1", 0))
            port, peer = a.getsockname()[1], b.getsockname()[1]
        client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
        self.log = os.path.join(folder, name + ".log")
        self.command = [program, "--data-dir", os.path.join(folder, name), "--listen-client-urls", client,
                        "--advertise-client-urls", client, "--listen-peer-urls", peer,
                        "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"]
        self.address = f"127.0.0.1:{port}"
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=open(self.log, "a"))
        self.channel = grpc.insecure_channel(self.address)
        self.kv, self.lease = stubs.KVStub(self.channel), stubs.LeaseStub(self.channel)
        self.watch, self.maintenance = stubs.WatchStub(self.channel), stubs.MaintenanceStub(self.channel)
        for _ in range(600):
            try:
                self.kv.Range(rpc.RangeRequest(key=b"up"), timeout=5)
                return
            except grpc.RpcError:
                time.sleep(0.05)
        raise SystemExit(f"not ok - {self.name} answers\n" + open(self.log).read())

    def stop(self, how):
        self.channel.close()
        self.process.send_signal(how)
        self.process.wait(30)

    def call(self, method, request):
        """(code, words, message without what may differ)"""
        stub = {"Range": self.kv, "Put": self.kv, "DeleteRange": self.kv, "Txn": self.kv, "Compact": self.kv,
                "LeaseGrant": self.lease, "LeaseRevoke": self.lease, "LeaseTimeToLive": self.lease,
                "LeaseLeases": self.lease, "HashKV": self.maintenance}[method]
        try:
            answer = getattr(stub, method)(request, timeout=30)
        except grpc.RpcError as e:
            return e.code().name, e.details(), None
        for header in ("cluster_id", "member_id", "raft_term"):
            setattr(answer.header, header, 0)
        if method == "HashKV":  # hash_revision came with etcd 3.6, after the client's schema
            answer.DiscardUnknownFields()
        if method == "LeaseTimeToLive":
            answer.keys.sort()
            if answer.TTL > 0:
                answer.TTL = 1
        if method == "LeaseLeases":
            ids = sorted(one.ID for one in answer.leases)
            del answer.leases[:]
            answer.leases.extend(rpc.LeaseStatus(ID=i) for i in ids)
        return "OK", None, answer


# ---- Random requests ----

revision = 1  # about where both are
compacted = 0
granted = set()  # leases that both have


def chance(percent):
    return rnd.random() * 100 < percent


def some_key():
    return rnd.choice(KEYS) if chance(97) else rnd.choice([b"", b"nobody", b"a" * 300])


def some_range():
    key = some_key()
    if chance(40):
        return key, b""
    return key, rnd.choice([b"\0", some_key(), some_key(), key[:-1] + bytes([min(255, key[-1] + 1)]) if key else b"x"])


def some_revision():
    return rnd.choice([0, 0, 0, rnd.randint(1, max(1, revision)), rnd.randint(max(1, revision - 6), revision),
                       revision, revision + 1, -1, revision + 100])


def some_bound():
    return 0 if chance(80) else rnd.randint(-1, revision + 1)


def a_range():
    key, end = some_range()
    order, target = rnd.choice([0, 0, 1, 2]), rnd.randint(0, 4)
    return rpc.RangeRequest(
        key=key, range_end=end, limit=0 if target and not order else rnd.choice([0, 0, 0, 1, 2, 3, 100, -1]),
        revision=some_revision() if chance(40) else 0, sort_order=order, sort_target=target,
        serializable=chance(30), keys_only=chance(15), count_only=chance(15),
        min_mod_revision=some_bound(), max_mod_revision=some_bound(),
        min_create_revision=some_bound(), max_create_revision=some_bound())


def a_put():
    request = rpc.PutRequest(key=some_key(), value=rnd.choice([b"", b"v", b"x" * 50, bytes([rnd.randint(0, 255)]) * 9]),
                             prev_kv=chance(40))
    if chance(25):
        request.lease = rnd.choice(LEASES + [5])
    if chance(15):
        request.ignore_value = True
        if chance(80):
            request.value = b""
    if chance(15):
        request.ignore_lease = True
        if chance(80):
            request.lease = 0
    return request


def a_delete():
    key, end = some_range()
    if end == b"\0" and chance(80):
        end = b""
    return rpc.DeleteRangeRequest(key=key, range_end=end, prev_kv=chance(50))


def a_compare():
    key, end = some_range()
    c = rpc.Compare(key=key, result=rnd.randint(0, 3), target=rnd.randint(0, 4))
    if chance(30):
        c.range_end = end
    which = c.target if chance(95) else rnd.randint(0, 4)
    if which == 0:
        c.version = rnd.randint(0, 3)
    elif which == 1:
        c.create_revision = rnd.choice([0, rnd.randint(0, revision)])
    elif which == 2:
        c.mod_revision = rnd.choice([0, rnd.randint(0, revision)])
    elif which == 3:
        c.value = rnd.choice([b"", b"v", b"x" * 50])
    elif hasattr(c, "lease"):
        c.lease = rnd.choice([0, 1, 2])
    return c


def an_op(depth):
    op = rpc.RequestOp()
    kind = rnd.random()
    if kind < 0.3:
        op.request_range.CopyFrom(a_range())
    elif kind < 0.65:
        op.request_put.CopyFrom(a_put())
    elif kind < 0.8:
        op.request_delete_range.CopyFrom(a_delete())
        if op.request_delete_range.range_end == b"\0":
            op.request_delete_range.range_end = b"\xff\xff\xff"
    elif kind < 0.97 and depth < 3:
        op.request_txn.CopyFrom(a_txn(depth + 1))
    elif kind < 0.985:
        op.request_range.CopyFrom(a_range())
    return op


def a_txn(depth=0):
    request = rpc.TxnRequest()
    for _ in range(rnd.choice([0, 0, 1, 1, 2])):
        request.compare.add().CopyFrom(a_compare())
    sane = chance(75)  # most random transactions have duplicate keys or a bad operation: take those out
    for branch in (request.success, request.failure):
        used = set()
        for _ in range(rnd.choice([0, 1, 1, 2, 3, 5])):
            op = an_op(depth)
            if sane:
                kind = op.WhichOneof("request")
                if kind is None or kind == "request_txn" and depth > 0:
                    continue
                if kind == "request_put":
                    put = op.request_put
                    if put.key in used or not put.key or put.ignore_value or put.ignore_lease:
                        continue
                    used.add(put.key)
                if kind == "request_delete_range":
                    op.request_delete_range.range_end = b""
                    if op.request_delete_range.key in used or not op.request_delete_range.key:
                        continue
                    used.add(op.request_delete_range.key)
                if kind == "request_range" and not op.request_range.key:
                    continue
            branch.add().CopyFrom(op)
    return request


def ops_of(txn):
    for op in list(txn.success) + list(txn.failure):
        yield op
        if op.HasField("request_txn"):
            yield from ops_of(op.request_txn)


def no_half_applied(txn):
    """When an operation fails as it is applied, etcd 3.4 keeps what stands before it (some of it comes to light only
    after a restart): no judge of such transactions. Those without a write keep their bad revisions."""
    writes = any(op.WhichOneof("request") in ("request_put", "request_delete_range") for op in ops_of(txn))
    for op in ops_of(txn):
        if op.HasField("request_put") and op.request_put.lease not in granted:
            op.request_put.lease = 0
        if writes and op.HasField("request_range") and not compacted <= op.request_range.revision <= revision:
            op.request_range.revision = 0
    return txn


def a_big_txn():
    request = rpc.TxnRequest()
    for i in range(rnd.choice([127, 128, 129])):
        request.success.add().request_put.CopyFrom(rpc.PutRequest(key=b"big/%d" % i))
    return request


def a_request():
    kind = rnd.random()
    if kind < 0.30:
        return "Range", a_range()
    if kind < 0.55:
        return "Put", a_put()
    if kind < 0.64:
        return "DeleteRange", a_delete()
    if kind < 0.86:
        return "Txn", no_half_applied(a_txn())
    if kind < 0.865:
        return "Txn", a_big_txn()
    if kind < 0.885:
        return "Compact", rpc.CompactionRequest(revision=some_revision() if chance(40) else max(1, revision - rnd.randint(0, 30)),
                                                physical=True)
    if kind < 0.91:
        return "LeaseGrant", rpc.LeaseGrantRequest(ID=rnd.choice(LEASES), TTL=rnd.choice([1000, 100000, 9000000001]))
    if kind < 0.93:
        return "LeaseRevoke", rpc.LeaseRevokeRequest(ID=rnd.choice(LEASES + [5]))
    if kind < 0.945:
        return "LeaseTimeToLive", rpc.LeaseTimeToLiveRequest(ID=rnd.choice(LEASES + [5]), keys=chance(60))
    if kind < 0.95:
        return "LeaseLeases", rpc.LeaseLeasesRequest()
    return "HashKV", rpc.HashKVRequest(revision=some_revision())


def watched(member, request, until):
    """What a watch of `request` says, up to the event at revision `until`: list of events, or its end."""
    def ask():
        yield rpc.WatchRequest(create_request=request)
        while not done:
            time.sleep(0.01)
    done, events = [], []
    stream = member.watch.Watch(ask(), timeout=30)
    try:
        for answer in stream:
            if answer.canceled:
                return events, ("canceled", answer.created, answer.watch_id, answer.compact_revision,
                                answer.cancel_reason)
            events += [(e.type, e.kv.SerializeToString(), e.prev_kv.SerializeToString()) for e in answer.events]
            if any(e.kv.mod_revision >= until for e in answer.events):
                return events, "whole"
    except grpc.RpcError as e:
        return events, (e.code().name, e.details())
    finally:
        done.append(1)
        stream.cancel()
    return events, "ended"


# ---- The comparison ----

failed, counts, explained = [], {}, {}


def compare(method, request, etcd, kvd):
    global revision, compacted
    counts[method, etcd[0]] = counts.get((method, etcd[0]), 0) + 1
    if etcd[2] is not None and method != "HashKV" and etcd[2].header.revision:
        revision = etcd[2].header.revision
    if etcd[0] == "OK" and method == "LeaseGrant":
        granted.add(request.ID)
    if etcd[0] == "OK" and method == "LeaseRevoke":
        granted.discard(request.ID)
    if etcd[0] == "OK" and method == "Compact":
        compacted = request.revision
    if etcd == kvd:
        return True
    for why, holds in EXPLAINED:
        if holds(method, request, etcd, kvd):
            explained[why] = explained.get(why, 0) + 1
            return True
    failed.append(f"{method}\n{request}\n-- etcd: {etcd[0]} {etcd[1]}\n{etcd[2]}\n-- kvd: {kvd[0]} {kvd[1]}\n{kvd[2]}")
    return False


def both(method, request):
    return compare(method, request, members[0].call(method, request), members[1].call(method, request))


def a_watch():
    key, end = some_range()
    while not key or end and end != b"\0" and end <= key:
        key, end = some_range()
    request = rpc.WatchCreateRequest(key=key, range_end=end, prev_kv=chance(50),
                                     start_revision=rnd.randint(1, revision + 1))
    if chance(30):
        request.filters.append(rnd.choice([0, 1]))
    both("Put", rpc.PutRequest(key=key, value=b"end"))
    first = revision
    both("DeleteRange", rpc.DeleteRangeRequest(key=key))
    until = revision if 1 not in request.filters else first  # filter 1 drops deletions
    seen = [watched(m, request, until) for m in members]
    if 1 in request.filters or 0 in request.filters:
        counts["Watch", "filtered"] = counts.get(("Watch", "filtered"), 0) + 1
    counts["Watch", str(seen[0][1])[:20]] = counts.get(("Watch", str(seen[0][1])[:20]), 0) + 1
    # One side may have read a response with one more revision than the other, and may still have a deletion at the
    # compact revision itself: compare what both had to send.
    cut = [([e for e in events if compacted < kv.KeyValue.FromString(e[1]).mod_revision <= until], end)
           for events, end in seen]
    if cut[0] != cut[1]:
        failed.append(f"Watch\n{request}\n-- etcd: {cut[0]}\n-- kvd: {cut[1]}")


with tempfile.TemporaryDirectory() as folder:
    members = [Member("etcd", ETCD, folder), Member("kvd", os.path.join(BUILD, "kvd"), folder)]
    try:
        for n in range(REQUESTS):
            if chance(4):
                a_watch()
                continue
            method, request = a_request()
            same = both(method, request)
            if method == "Txn" and len(request.success) > 100:
                same &= both("DeleteRange", rpc.DeleteRangeRequest(key=b"big/", range_end=b"big0", prev_kv=True))
            if not same and len(failed) >= int(os.environ.get("KVD_DIFFERENCES") or 5):
                break
            if n == REQUESTS // 2:  # the second half after a crash and a restart of both
                for m in members:
                    m.stop(signal.SIGKILL)
                for m in members:
                    m.start()
            if n % 50 == 0 and not failed:
                both("HashKV", rpc.HashKVRequest())
                both("Range", rpc.RangeRequest(key=b"\0", range_end=b"\0"))
    finally:
        for m in members:
            m.stop(signal.SIGKILL)

for f in failed:
    print("\n".join("# " + line for line in f.split("\n")))
for why, n in explained.items():
    print(f"# explained: {why}: {n}")
if os.environ.get("KVD_VERBOSE"):
    for k, n in sorted(counts.items()):
        print(f"# {k}: {n}")
done = sum(counts.values())
if failed or done < REQUESTS:
    print(f"not ok - {NAME} # {len(failed)} of {done} differ; KVD_SEED={SEED}")
    sys.exit(1)
print(f"ok - {NAME} # {done} requests, seed {SEED}")
