/* cmd/kvlab/kube_server.c: kube-apiserver needs, since 1.20: HTTPS, an issuer and a key of service
 * accounts, and somebody who may. It makes its own certificate in --cert-dir, which we then trust. The
 * token's group system:masters may all, and is exempt from API priority and fairness, so that what is
 * measured is not its queues. No controller runs: the admission plugin ServiceAccount would wait for one. */
#include "cmd/kvlab/kube_server.h"
#include "cmd/kvlab/https.h"
#include "cmd/kvlab/run_tool.h"
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <rt/file.h>
#include <rt/go.h>
#include <rt/process.h>
#include <signal.h>
#include <stdio.h>

enum { READY_S = 60, END_S = 10, CALL_S = 20, TAIL_LINES = 6, ENDPOINTS_BYTES = 1024 };
#define POD_NAME "kvlab-pod-"

struct kube_server {
    struct lab *lab;
    char address[64], folder[440], certificate[480], log_path[480], token[40];
    struct rt_child *child;
    struct https_trust *trust;
    struct load_target list;
    uint32_t pods;
    _Atomic uint64_t list_bytes;
    _Atomic bool stopping, ended; // ended: by itself
    int status;                   // valid when ended
    struct rt_note gone;
};

/* ---- What it needs before it starts ---- */

static bool write_file(const struct kube_server *k, const char *name, const void *data, size_t len,
                       struct why *why)
{
    char path[520], words[64];
    snprintf(path, sizeof path, "%s/%s", k->folder, name);
    int err = rt_replace_file(path, data, len, 0600);
    if (err)
        why_set(why, "cannot write %s: %s", path, why_errno(err, words, sizeof words));
    return err == 0;
}

static bool write_token(struct kube_server *k, struct why *why)
{
    char line[120];
    snprintf(k->token, sizeof k->token, "%016" PRIx64 "%016" PRIx64, rt_random_u64(),
             rt_random_u64());
    int len = snprintf(line, sizeof line, "%s,kvlab,kvlab,\"system:masters\"\n", k->token);
    return write_file(k, "tokens.csv", line, (size_t)len, why);
}

/* The key that would sign tokens of service accounts, as SEC 1 has it: kube-apiserver reads no elliptic key in
 * PKCS #8. */
static bool write_key(struct kube_server *k, struct why *why)
{
    struct rt_string pem = {0};
    rt_nopreempt_begin(); // OpenSSL's errors are the thread's
    EVP_PKEY *key = EVP_EC_gen("P-256");
    BIO *bio = BIO_new(BIO_s_mem());
    if (key && bio && PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL, NULL)) {
        char *data;
        long len = BIO_get_mem_data(bio, &data);
        rt_string_append(&pem, data, (size_t)len);
    }
    BIO_free(bio);
    EVP_PKEY_free(key);
    rt_nopreempt_end();
    bool ok = pem.len > 0;
    if (!ok)
        why_set(why, "OpenSSL makes no key");
    ok = ok && write_file(k, "service-account.key", pem.data, pem.len, why);
    rt_string_deinit(&pem);
    return ok;
}

static bool choose_address(struct kube_server *k, struct why *why)
{
    struct rt_listener *l;
    if (rt_listen("127.0.0.1:0", &l, why))
        return false;
    snprintf(k->address, sizeof k->address, "%s", rt_listener_address(l));
    rt_listener_close(l);
    return true;
}

static bool make_folder(struct kube_server *k, const struct cluster *cluster, struct why *why)
{
    char words[64];
    snprintf(k->folder, sizeof k->folder, "%s/apiserver", cluster->folder);
    snprintf(k->certificate, sizeof k->certificate, "%s/apiserver.crt", k->folder);
    snprintf(k->log_path, sizeof k->log_path, "%s/apiserver.log", cluster->folder);
    rt_mkdir(cluster->folder, 0755); // there, when the members are ours
    int err = rt_mkdir(k->folder, 0700);
    if (err)
        why_set(why, "cannot make %s: %s", k->folder, why_errno(err, words, sizeof words));
    return err == 0;
}

/* ---- The process ---- */

static void watch_server(void *arg)
{
    struct kube_server *k = arg;
    int status = -1;
    rt_wait_child(k->child, RT_FOREVER, &status);
    k->status = status;
    if (!atomic_load(&k->stopping))
        atomic_store(&k->ended, true);
    rt_note_set(&k->gone);
}

static bool is_up(struct kube_server *k, struct why *why)
{
    char tail[360];
    if (!atomic_load(&k->ended))
        return true;
    file_tail(k->log_path, TAIL_LINES, tail, sizeof tail);
    why_set(why, "kube-apiserver ended with status %d; the end of %s:\n%s", k->status, k->log_path,
            tail);
    return false;
}

/* A connection breaks a moment before its process is seen to be gone: the cause is worth a second. */
static void await_end(struct kube_server *k)
{
    for (int i = 0; i < 20 && !atomic_load(&k->ended); i++)
        rt_sleep_ns(50 * RT_MS);
}

static void list_endpoints(const struct cluster *c, char *out, size_t cap)
{
    size_t n = (size_t)snprintf(out, cap, "--etcd-servers=");
    for (uint32_t i = 0; i < c->count && n < cap; i++)
        n +=
            (size_t)snprintf(out + n, cap - n, "%shttp://%s", i ? "," : "", c->members[i].endpoint);
}

static bool spawn(struct kube_server *k, const struct cluster *cluster, struct why *why)
{
    char etcd[ENDPOINTS_BYTES], port[40], certs[480], tokens[520], keys[520], signing[540];
    list_endpoints(cluster, etcd, sizeof etcd);
    snprintf(port, sizeof port, "--secure-port=%s", strrchr(k->address, ':') + 1);
    snprintf(certs, sizeof certs, "--cert-dir=%s", k->folder);
    snprintf(tokens, sizeof tokens, "--token-auth-file=%s/tokens.csv", k->folder);
    snprintf(keys, sizeof keys, "--service-account-key-file=%s/service-account.key", k->folder);
    snprintf(signing, sizeof signing, "--service-account-signing-key-file=%s/service-account.key",
             k->folder);
    const char *const argv[] = {k->lab->options->kube_apiserver,
                                etcd,
                                "--bind-address=127.0.0.1",
                                "--advertise-address=127.0.0.1",
                                port,
                                certs,
                                tokens,
                                keys,
                                signing,
                                "--service-account-issuer=https://kubernetes.default.svc",
                                "--service-cluster-ip-range=10.0.0.0/24",
                                "--authorization-mode=RBAC",
                                "--disable-admission-plugins=ServiceAccount",
                                NULL};
    if (leftovers_spawn(&k->lab->leftovers,
                        &(struct rt_command){
                            .argv = argv, .stdout_path = k->log_path, .stderr_path = k->log_path},
                        &k->child, why))
        return false;
    if (rt_go("kube-apiserver-watcher", watch_server, k) == 0) // ends when the server has
        return true;
    why_set(why, "no goroutine to watch kube-apiserver");
    int status;
    rt_kill(k->child, SIGKILL);
    rt_wait_child(k->child, RT_FOREVER, &status);
    rt_note_set(&k->gone);
    return false;
}

/* ---- Requests ---- */

/* The answer with that status, or NULL with why. */
static const struct http_answer *call(struct kube_server *k, struct https *h,
                                      const struct https_request *request, int status,
                                      struct why *why)
{
    const struct http_answer *a = https_call(h, request, rt_after_ns(CALL_S * RT_SECOND), why);
    if (a && a->status == status)
        return a;
    if (a)
        why_set(why, "%s %s: status %d: %.*s", request->method, request->target, a->status,
                a->body.len > 200 ? 200 : (int)a->body.len, (const char *)a->body.data);
    else
        await_end(k);
    struct why dead;
    if (!is_up(k, &dead))
        *why = dead; // the cause
    return NULL;
}

static struct https *dial(struct kube_server *k, struct why *why)
{
    return https_dial(k->trust, k->address, rt_after_ns(CALL_S * RT_SECOND), why);
}

static bool is_ready(struct kube_server *k, struct why *why)
{
    if (!k->trust && https_trust_new(k->certificate, &k->trust, why))
        return false; // it has not made its certificate yet
    struct https *h = dial(k, why);
    bool ready =
        h && call(k, h, &(struct https_request){"GET", "/readyz", k->token, {0}}, 200, why) != NULL;
    https_close(h);
    return ready;
}

static bool wait_ready(struct kube_server *k, struct why *why)
{
    int64_t deadline = rt_after_ns(READY_S * RT_SECOND);
    while (!is_ready(k, why)) {
        if (!is_up(k, why))
            return false;
        if (rt_now_ns() > deadline || lab_is_stopped(k->lab)) {
            why_prefix(why, "kube-apiserver is not ready within %d s", READY_S);
            return false;
        }
        rt_sleep_ns(100 * RT_MS);
    }
    return true;
}

struct kube_server *kube_start(struct lab *lab, const struct cluster *cluster, struct why *why)
{
    struct kube_server *k = rt_alloc_zero(sizeof *k);
    k->lab = lab;
    if (make_folder(k, cluster, why) && write_token(k, why) && write_key(k, why) &&
        choose_address(k, why) && spawn(k, cluster, why) && wait_ready(k, why))
        return k;
    kube_stop(k);
    return NULL;
}

void kube_stop(struct kube_server *k)
{
    if (!k)
        return;
    atomic_store(&k->stopping, true);
    if (k->child) {
        rt_kill(k->child, SIGTERM); // it may have ended already
        if (rt_note_wait(&k->gone, rt_after_ns(END_S * RT_SECOND))) {
            rt_kill(k->child, SIGKILL);
            rt_note_wait(&k->gone, RT_FOREVER);
        }
        leftovers_child_free(&k->lab->leftovers, k->child);
    }
    https_trust_free(k->trust);
    file_remove_tree(k->folder);
    rt_free(k);
}

/* ---- Pods ---- */

/* One pod. False with why; *later: the namespace is not there yet, it is one of the first things that the
 * server makes. */
static bool make_pod(struct kube_server *k, uint32_t number, bool *later, struct why *why)
{
    char pod[256];
    int len = snprintf(pod, sizeof pod,
                       "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"" POD_NAME
                       "%u\"},\"spec\":{\"containers\":[{\"name\":\"main\",\"image\":\"none\"}]}}",
                       number);
    const struct https_request request = {"POST", "/api/v1/namespaces/default/pods", k->token,
                                          rt_bytes(pod, (size_t)len)};
    struct https *h = dial(k, why);
    const struct http_answer *a = NULL;
    if (h)
        a = https_call(h, &request, rt_after_ns(CALL_S * RT_SECOND), why);
    bool made = a && a->status == 201;
    *later = a && (a->status == 403 || a->status == 404);
    if (a && !made)
        why_set(why, "a pod is not made: status %d: %.*s", a->status,
                a->body.len > 200 ? 200 : (int)a->body.len, (const char *)a->body.data);
    https_close(h);
    return made;
}

bool kube_make_pods(struct kube_server *k, uint32_t count, struct why *why)
{
    int64_t deadline = rt_after_ns(CALL_S * RT_SECOND);
    for (uint32_t i = 0; i < count; i++) {
        bool later = false;
        while (!make_pod(k, i, &later, why)) {
            if (!later)
                await_end(k);
            if (!is_up(k, why) || !later || rt_now_ns() > deadline || lab_is_stopped(k->lab))
                return false;
            rt_sleep_ns(100 * RT_MS);
        }
        k->pods++;
    }
    return true;
}

/* How many of our pods an answer names, however its JSON is spaced. */
static uint32_t count_pods(const struct http_answer *a)
{
    static const char name[] = "\"" POD_NAME;
    const char *at = (const char *)a->body.data, *end = at + a->body.len;
    uint32_t count = 0;
    while (at && (at = memmem(at, (size_t)(end - at), name, sizeof name - 1))) {
        const char *before = at;
        at += sizeof name - 1;
        while (before > (const char *)a->body.data && (before[-1] == ' ' || before[-1] == ':'))
            before--;
        count += before - (const char *)a->body.data >= 6 && memcmp(before - 6, "\"name\"", 6) == 0;
    }
    return count;
}

struct lister {
    struct kube_server *server;
    struct https *connection;
};

static void *open_lister(void *arg, struct why *why)
{
    struct kube_server *k = arg;
    struct https *h = dial(k, why);
    if (!h)
        return NULL;
    struct lister *l = rt_alloc(sizeof *l);
    *l = (struct lister){k, h};
    return l;
}

static void close_lister(void *connection)
{
    struct lister *l = connection;
    https_close(l->connection);
    rt_free(l);
}

static bool list_pods(void *connection, struct why *why)
{
    struct lister *l = connection;
    struct kube_server *k = l->server;
    const struct https_request request = {"GET", "/api/v1/namespaces/default/pods", k->token, {0}};
    if (!l->connection && !(l->connection = dial(k, why)))
        return false;
    const struct http_answer *a = call(k, l->connection, &request, 200, why);
    if (!a)
        return false;
    uint32_t count = count_pods(a);
    atomic_store(&k->list_bytes, a->body.len);
    if (count != k->pods) {
        why_set(why, "a LIST answered %u pods of %u", count, k->pods);
        return false;
    }
    if (!a->keeps_open) { // servers do that now and then
        https_close(l->connection);
        l->connection = NULL;
    }
    return true;
}

const struct load_target *kube_list_pods(struct kube_server *k)
{
    k->list = (struct load_target){open_lister, list_pods, close_lister, k};
    return &k->list;
}

uint64_t kube_list_bytes(const struct kube_server *k) { return atomic_load(&k->list_bytes); }
