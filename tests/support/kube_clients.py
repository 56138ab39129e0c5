#!/usr/bin/python3
"""Clients of a kube-apiserver, many at once, for tests/e2e/test_kube.sh.

    create KIND NAMESPACE PREFIX COUNT    objects PREFIX-0000 and on, each answered with 201
    count NAMESPACE NAME KIND FROM TO     write each number in turn into the object's field n
    increment NAMESPACE NAME CLIENTS N    each client adds 1 to a configmap's n N times by optimistic concurrency
    keep-creating KIND NAMESPACE CLIENTS STOP    until the file STOP is there; prints each name once it was acknowledged

KIND is configmaps or secrets. Settings: KUBE_ADDRESS (host:port), KUBE_TOKEN, KUBE_CA (a file).
"""
import base64, http.client, json, os, ssl, sys, threading, time

context = ssl.create_default_context(cafile=os.environ["KUBE_CA"])
headers = {"Authorization": "Bearer " + os.environ["KUBE_TOKEN"], "Content-Type": "application/json"}
AT_ONCE = 8
GIVE_UP_S = 120


class Client:
    def __init__(self):
        self.connection = None

    def call(self, method, path, body=None):
        """Status and answer; (0, why) when the connection broke, and then nobody knows what was done."""
        try:
            self.connection = self.connection or http.client.HTTPSConnection(
                os.environ["KUBE_ADDRESS"], context=context, timeout=60)
            self.connection.request(method, path, body and json.dumps(body), headers)
            answer = self.connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, ValueError, http.client.HTTPException) as e:
            self.connection = None
            return 0, str(e)


def expect(status, got, what):
    if got[0] != status:
        sys.exit(f"{what}: status {got[0]}, wanted {status}: {got[1]}")
    return got[1]


def folder(kind, namespace):
    return f"/api/v1/namespaces/{namespace}/{kind}"


def to_data(kind, n):
    return {"n": base64.b64encode(str(n).encode()).decode() if kind == "secrets" else str(n)}


def new_object(kind, name, n=0):
    return {"metadata": {"name": name, "labels": {"made-by": "kube-clients"}}, "data": to_data(kind, n)}


failures = []
output = threading.Lock()  # a line is one client's


def run_threads(work, count):
    """work(i) in `count` threads; whatever one of them ends with is our end, too."""

    def guarded(i):
        try:
            work(i)
        except BaseException as e:  # SystemExit, too: it would end this thread only
            failures.append(e)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        sys.exit(str(failures[0]))


def create(kind, namespace, prefix, count):
    def work(i):
        c = Client()
        for n in range(i, int(count), AT_ONCE):
            name = f"{prefix}-{n:04}"
            expect(201, c.call("POST", folder(kind, namespace), new_object(kind, name)), f"create {name}")

    run_threads(work, AT_ONCE)


def count(namespace, name, kind, first, last):
    c = Client()
    for n in range(int(first), int(last) + 1):
        # Without a resourceVersion: unconditional.
        expect(200, c.call("PUT", f"{folder(kind, namespace)}/{name}", new_object(kind, name, n)), f"write {n}")


def increment(namespace, name, clients, times):
    path = f"{folder('configmaps', namespace)}/{name}"
    conflicts = [0] * int(clients)

    def work(i):
        c = Client()
        done = 0
        while done < int(times):
            seen = expect(200, c.call("GET", path), "get")
            seen["data"]["n"] = str(int(seen["data"]["n"]) + 1)
            got = c.call("PUT", path, seen)
            if got[0] == 409:
                conflicts[i] += 1
                continue
            expect(200, got, "increment")
            done += 1

    run_threads(work, int(clients))
    print(sum(conflicts))


def keep_creating(kind, namespace, clients, stop):
    def work(i):
        c = Client()
        n, tries, waited_s = 0, 0, 0.0
        while tries or not os.path.exists(stop):  # what was begun is finished
            status, answer = c.call("POST", folder(kind, namespace), new_object(kind, f"k{i}-{n:05}"))
            tries += 1
            # "Already there" after an attempt whose answer nobody saw or that failed half way: it was made then.
            if status == 201 or (status == 409 and tries > 1):
                with output:
                    print(f"k{i}-{n:05}", flush=True)
                n, tries, waited_s = n + 1, 0, 0.0
            elif status in (0, 429) or status >= 500:
                with output:
                    print(f"k{i}-{n:05}: try {tries}: {status} {answer}", file=sys.stderr, flush=True)
                waited_s += 0.1
                if waited_s > GIVE_UP_S:
                    sys.exit(f"no answer for {GIVE_UP_S} s")
                time.sleep(0.1)
            else:
                sys.exit(f"create: status {status}: {answer}")

    run_threads(work, int(clients))


commands = {"create": create, "count": count, "increment": increment, "keep-creating": keep_creating}
if len(sys.argv) < 2 or sys.argv[1] not in commands:
    sys.exit(__doc__)
commands[sys.argv[1]](*sys.argv[2:])
