/* cmd/kvctl/print.c: what etcdctl prints for the answers of KV and Watch, and the pieces that other
 * answers are made of. */
#include "cmd/kvctl/kvctl.h"
#include <inttypes.h>
#include <stdio.h>

void print_go_quoted(struct rt_string *out, struct rt_bytes bytes)
{
    bool is_text = fields_utf8_is_valid(bytes);
    rt_string_append(out, "\"", 1);
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t c = bytes.data[i];
        static const char named[] = "\a\b\f\n\r\t\v\\\"", letters[] = "abfnrtv\\\"";
        const char *at = c ? strchr(named, c) : NULL;
        if (at)
            rt_string_printf(out, "\\%c", letters[at - named]);
        else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !is_text))
            rt_string_printf(out, "\\x%02x", c);
        else
            rt_string_append(out, &c, 1);
    }
    rt_string_append(out, "\"", 1);
}

void print_bytes(struct kvctl *k, struct rt_bytes bytes)
{
    if (!k->hex) {
        rt_string_append(&k->out, bytes.data, bytes.len);
        return;
    }
    for (size_t i = 0; i < bytes.len; i++)
        rt_string_printf(&k->out, "\\x%02x", bytes.data[i]);
}

static void print_line(struct kvctl *k, struct rt_bytes bytes)
{
    print_bytes(k, bytes);
    rt_string_append(&k->out, "\n", 1);
}

void print_kv(struct kvctl *k, const Mvccpb__KeyValue *kv)
{
    print_line(k, kvctl_blob(kv->key));
    print_line(k, kvctl_blob(kv->value));
}

void print_fields_header(struct rt_string *out, const Etcdserverpb__ResponseHeader *h)
{
    if (h)
        rt_string_printf(out,
                         "\"ClusterID\" : %" PRIu64 "\n\"MemberID\" : %" PRIu64
                         "\n\"Revision\" : %" PRId64 "\n\"RaftTerm\" : %" PRIu64 "\n",
                         h->cluster_id, h->member_id, h->revision, h->raft_term);
}

void print_fields_kv(struct rt_string *out, const char *prefix, const Mvccpb__KeyValue *kv)
{
    rt_string_printf(out, "\"%sKey\" : ", prefix);
    print_go_quoted(out, kvctl_blob(kv->key));
    rt_string_printf(out,
                     "\n\"%sCreateRevision\" : %" PRId64 "\n\"%sModRevision\" : %" PRId64
                     "\n\"%sVersion\" : %" PRId64 "\n\"%sValue\" : ",
                     prefix, kv->create_revision, prefix, kv->mod_revision, prefix, kv->version,
                     prefix);
    print_go_quoted(out, kvctl_blob(kv->value));
    rt_string_printf(out, "\n\"%sLease\" : %" PRId64 "\n", prefix, kv->lease);
}

void print_json_line(struct kvctl *k, const ProtobufCMessage *m)
{
    print_json_message(&k->out, m);
    rt_string_append(&k->out, "\n", 1);
}

static void range_fields(struct kvctl *k, const Etcdserverpb__RangeResponse *r)
{
    print_fields_header(&k->out, r->header);
    for (size_t i = 0; i < r->n_kvs; i++)
        print_fields_kv(&k->out, "", r->kvs[i]);
    rt_string_printf(&k->out, "\"More\" : %s\n\"Count\" : %" PRId64 "\n",
                     r->more ? "true" : "false", r->count);
}

void print_range(struct kvctl *k, const Etcdserverpb__RangeResponse *r, bool keys_only,
                 bool values_only)
{
    if (k->format == FORMAT_JSON) {
        print_json_line(k, &r->base);
    } else if (k->format == FORMAT_FIELDS) {
        range_fields(k, r);
    } else {
        for (size_t i = 0; i < r->n_kvs; i++) {
            if (!values_only)
                print_line(k, kvctl_blob(r->kvs[i]->key));
            print_line(k, keys_only ? (struct rt_bytes){0} : kvctl_blob(r->kvs[i]->value));
        }
    }
}

void print_put(struct kvctl *k, const Etcdserverpb__PutResponse *r)
{
    if (k->format == FORMAT_JSON) {
        print_json_line(k, &r->base);
    } else if (k->format == FORMAT_FIELDS) {
        print_fields_header(&k->out, r->header);
        if (r->prev_kv)
            print_fields_kv(&k->out, "Prev", r->prev_kv);
    } else {
        rt_string_printf(&k->out, "OK\n");
        if (r->prev_kv)
            print_kv(k, r->prev_kv);
    }
}

void print_delete(struct kvctl *k, const Etcdserverpb__DeleteRangeResponse *r)
{
    if (k->format == FORMAT_JSON) {
        print_json_line(k, &r->base);
        return;
    }
    if (k->format == FORMAT_FIELDS)
        print_fields_header(&k->out, r->header);
    else
        rt_string_printf(&k->out, "%" PRId64 "\n", r->deleted);
    for (size_t i = 0; i < r->n_prev_kvs; i++) {
        if (k->format == FORMAT_FIELDS)
            print_fields_kv(&k->out, "Prev", r->prev_kvs[i]);
        else
            print_kv(k, r->prev_kvs[i]);
    }
}

void print_txn(struct kvctl *k, const Etcdserverpb__TxnResponse *r)
{
    if (k->format == FORMAT_JSON) {
        print_json_line(k, &r->base);
        return;
    }
    if (k->format == FORMAT_FIELDS) {
        print_fields_header(&k->out, r->header);
        rt_string_printf(&k->out, "\"Succeeded\" : %s\n", r->succeeded ? "true" : "false");
    } else {
        rt_string_printf(&k->out, "%s\n", r->succeeded ? "SUCCESS" : "FAILURE");
    }
    for (size_t i = 0; i < r->n_responses; i++) {
        const Etcdserverpb__ResponseOp *op = r->responses[i];
        if (k->format == FORMAT_SIMPLE)
            rt_string_append(&k->out, "\n", 1);
        switch (op->response_case) {
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE:
            print_range(k, op->response_range, false, false);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT:
            print_put(k, op->response_put);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE:
            print_delete(k, op->response_delete_range);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_TXN:
            print_txn(k, op->response_txn);
            break;
        default:
            break; // an arm of a newer server
        }
    }
}

static void watch_json(struct kvctl *k, const Etcdserverpb__WatchResponse *r)
{
    rt_string_printf(&k->out, "{\"Header\":");
    if (r->header)
        print_json_message(&k->out, &r->header->base);
    else
        rt_string_printf(&k->out, "{}");
    rt_string_printf(&k->out, ",\"Events\":[");
    for (size_t i = 0; i < r->n_events; i++) {
        if (i)
            rt_string_append(&k->out, ",", 1);
        print_json_message(&k->out, &r->events[i]->base);
    }
    rt_string_printf(&k->out, "],\"CompactRevision\":%" PRId64 ",\"Canceled\":%s,\"Created\":%s}\n",
                     r->compact_revision, r->canceled ? "true" : "false",
                     r->created ? "true" : "false");
}

void print_watch(struct kvctl *k, const Etcdserverpb__WatchResponse *r)
{
    if (k->format == FORMAT_JSON) {
        watch_json(k, r);
        return;
    }
    if (k->format == FORMAT_FIELDS)
        print_fields_header(&k->out, r->header);
    for (size_t i = 0; i < r->n_events; i++) {
        const Mvccpb__Event *e = r->events[i];
        const char *type = e->type == MVCCPB__EVENT__EVENT_TYPE__DELETE ? "DELETE" : "PUT";
        if (k->format == FORMAT_FIELDS) {
            rt_string_printf(&k->out, "\"Type\" : \"%s\"\n", type);
            if (e->prev_kv)
                print_fields_kv(&k->out, "Prev", e->prev_kv);
            print_fields_kv(&k->out, "", e->kv);
        } else {
            rt_string_printf(&k->out, "%s\n", type);
            if (e->prev_kv)
                print_kv(k, e->prev_kv);
            print_kv(k, e->kv);
        }
    }
}

void print_table(struct rt_string *out, const char *const *head, uint32_t columns,
                 const char *const *cells, uint32_t rows)
{
    enum { COLUMNS_MAX = 24 };
    size_t widths[COLUMNS_MAX] = {0};
    for (uint32_t c = 0; c < columns; c++) {
        widths[c] = strlen(head[c]);
        for (uint32_t r = 0; r < rows; r++)
            if (strlen(cells[r * columns + c]) > widths[c])
                widths[c] = strlen(cells[r * columns + c]);
    }
    struct rt_string rule = {0};
    for (uint32_t c = 0; c < columns; c++) {
        rt_string_append(&rule, "+", 1);
        for (size_t i = 0; i < widths[c] + 2; i++)
            rt_string_append(&rule, "-", 1);
    }
    rt_string_printf(&rule, "+\n");
    rt_string_append(out, rule.data, rule.len);
    for (uint32_t c = 0; c < columns; c++) { // centred, as etcdctl's table has it
        size_t gap = widths[c] - strlen(head[c]);
        rt_string_printf(out, "| %*s%s%*s ", (int)(gap / 2), "", head[c], (int)(gap - gap / 2), "");
    }
    rt_string_printf(out, "|\n");
    rt_string_append(out, rule.data, rule.len);
    for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t c = 0; c < columns; c++)
            rt_string_printf(out, "| %*s ", (int)widths[c], cells[r * columns + c]);
        rt_string_printf(out, "|\n");
    }
    rt_string_append(out, rule.data, rule.len);
    rt_string_deinit(&rule);
}
