/* cmd/kvctl/kvctl.h: what kvctl's commands share: what the user asked for, how a server is called, how
 * an answer is printed. One process runs one command. */
#pragma once
#include "proto/fields.h"
#include "proto/grpc.h"
#include "proto/rpc.pb-c.h"
#include <rt/alloc.h>
#include <rt/time.h>
#include <rt/why.h>
#include <stdbool.h>
#include <stdint.h>

/* Exit statuses, etcdctl's. */
enum kvctl_exit {
    KVCTL_OK = 0,
    KVCTL_ERROR = 1,
    KVCTL_BAD_INPUT = 3,
    KVCTL_UNHEALTHY = 5,
    KVCTL_IO = 6,
    KVCTL_BAD_ARGS = 128
};
enum kvctl_format { FORMAT_SIMPLE, FORMAT_JSON, FORMAT_FIELDS, FORMAT_TABLE };
enum { KVCTL_ENDPOINTS_MAX = 64, KVCTL_ARGS_MAX = 512 };

/* An option of a command or of all; its value goes to `to`. */
enum option_kind { OPTION_SWITCH, OPTION_TEXT, OPTION_INT, OPTION_HEX, OPTION_DURATION };
struct option {
    const char *name;
    char letter; // 0: none
    enum option_kind kind;
    void *to; // bool, const char *, int64_t, uint64_t (HEX), int64_t ns (DURATION)
    const char *help;
};

struct kvctl {
    // as asked
    const char *endpoints[KVCTL_ENDPOINTS_MAX];
    uint32_t endpoint_count;
    enum kvctl_format format;
    bool hex;
    int64_t dial_timeout_ns, command_timeout_ns;
    // the command's own
    const char *command;              // "lease grant"
    const char *args[KVCTL_ARGS_MAX]; // what is no option
    int arg_count;
    int unread_count;
    char **unread; // words after the command, options and all
    int exit;      // what to end with, when a step says that it is over
    // at work
    struct rt_arena arena;   // words: whatever lives as long as the command
    struct rt_arena answers; // unpacked answers; a command that follows a stream resets it
    struct rt_string out;    // for stdout
    struct grpc_client *client;
    const char *client_endpoint;
};

/* Read the command's words by its options; at least `least` and at most `most` others must remain.
 * False: it is over, for an error or the help has been printed; k->exit is the status. */
bool kvctl_options(struct kvctl *k, const struct option *options, uint32_t count, int least,
                   int most, const char *usage);

/* Print "Error: ..." and give `status` back; kvctl_over keeps it in k->exit and says false. */
int kvctl_fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool kvctl_over(struct kvctl *k, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* True: this answer cannot be printed as a table and one was asked for; printed, k->exit is the status. */
bool kvctl_refuse_table(struct kvctl *k);

/* ---- Calls (client.c) ---- */

/* Call one method at whichever endpoint answers; a failed write is not tried again elsewhere unless
 * it never left. The answer is unpacked into k->answers. 0, or an exit status: printed. */
int kvctl_call(struct kvctl *k, const char *path, const struct rt_string *request,
               const ProtobufCMessageDescriptor *type, void *answer_out);
/* The same at one endpoint, quietly: 0, or a gRPC code with its text in *status. */
int kvctl_call_at(struct kvctl *k, const char *endpoint, const char *path,
                  const struct rt_string *request, const ProtobufCMessageDescriptor *type,
                  void *answer_out, struct grpc_status *status);
/* Open a stream at whichever endpoint answers: 0, or an exit status: printed. */
int kvctl_stream(struct kvctl *k, const char *path, struct grpc_stream **out);
/* Unpack a message of a stream. 0, or an exit status: printed. */
int kvctl_unpack(struct kvctl *k, struct rt_bytes bytes, const ProtobufCMessageDescriptor *type,
                 void *answer_out);
/* With --cluster the endpoints are those that the members advertise. False: it is over. */
bool kvctl_use_cluster(struct kvctl *k);
void kvctl_hang_up(struct kvctl *k);
/* Write k->out to stdout and empty it. An exit status. */
int kvctl_flush(struct kvctl *k);

/* ---- Printing (print_*.c) ---- */

void print_json_message(struct rt_string *out, const ProtobufCMessage *message);
void print_json_line(struct kvctl *k,
                     const ProtobufCMessage *message); // the message and a line's end
void print_json_text(struct rt_string *out, const char *text, size_t len);
void print_go_quoted(struct rt_string *out, struct rt_bytes bytes); // as Go's %q
void print_bytes(struct kvctl *k, struct rt_bytes bytes);           // raw, or \x.. with --hex
void print_kv(struct kvctl *k, const Mvccpb__KeyValue *kv);         // key line, value line
void print_table(struct rt_string *out, const char *const *head, uint32_t columns,
                 const char *const *cells, uint32_t rows);
/* `"ClusterID" : 1` and the rest of a header. */
void print_fields_header(struct rt_string *out, const Etcdserverpb__ResponseHeader *h);
void print_fields_kv(struct rt_string *out, const char *prefix, const Mvccpb__KeyValue *kv);
/* Answers of KV in every format. */
void print_range(struct kvctl *k, const Etcdserverpb__RangeResponse *r, bool keys_only,
                 bool values_only);
void print_put(struct kvctl *k, const Etcdserverpb__PutResponse *r);
void print_delete(struct kvctl *k, const Etcdserverpb__DeleteRangeResponse *r);
void print_txn(struct kvctl *k, const Etcdserverpb__TxnResponse *r);
void print_watch(struct kvctl *k, const Etcdserverpb__WatchResponse *r);

/* ---- Commands: each returns an exit status ---- */

int command_put(struct kvctl *k);
int command_get(struct kvctl *k);
int command_del(struct kvctl *k);
int command_txn(struct kvctl *k);
int command_compaction(struct kvctl *k);
int command_watch(struct kvctl *k);
int command_lease_grant(struct kvctl *k);
int command_lease_revoke(struct kvctl *k);
int command_lease_timetolive(struct kvctl *k);
int command_lease_list(struct kvctl *k);
int command_lease_keep_alive(struct kvctl *k);
int command_endpoint_health(struct kvctl *k);
int command_endpoint_status(struct kvctl *k);
int command_endpoint_hashkv(struct kvctl *k);
int command_member_list(struct kvctl *k);
int command_alarm_list(struct kvctl *k);
int command_alarm_disarm(struct kvctl *k);
int command_move_leader(struct kvctl *k);
int command_latency(struct kvctl *k);
int command_knob_list(struct kvctl *k);
int command_knob_get(struct kvctl *k);
int command_knob_set(struct kvctl *k);
int command_debug_goroutines(struct kvctl *k);
int command_debug_trace(struct kvctl *k);
int command_debug_leaks(struct kvctl *k);

/* Build requests of KV from words, for the commands and for txn's lines. False: it is over, k->exit. */
bool request_put(struct kvctl *k, struct rt_string *out);
bool request_range(struct kvctl *k, struct rt_string *out, bool *keys_only, bool *values_only);
bool request_delete(struct kvctl *k, struct rt_string *out);

/* Lines of a transaction, cut up in place: target("key") op "operand" as a Compare, field 1 of a TxnRequest;
 * put, get or del with their options as a RequestOp in field `number`. False: printed, k->exit. */
bool txn_add_compare(struct kvctl *k, struct rt_string *out, char *line);
bool txn_add_operation(struct kvctl *k, struct rt_string *out, uint32_t number, char *line);

static inline struct rt_bytes kvctl_text(const char *text) { return rt_bytes(text, strlen(text)); }
static inline struct rt_bytes kvctl_blob(ProtobufCBinaryData d) { return rt_bytes(d.data, d.len); }
