/* proto/grpc_answer.c: how an answer looks in HTTP/2.
 *
 *     headers and messages   HEADERS (:status, content-type), DATA ..., HEADERS (grpc-status)
 *     nothing but a status   one HEADERS with all of it ("trailers only")
 *
 * All of this runs on the connection's goroutine, under nopreempt. */
#include "proto/grpc_server.h"
#include "proto/grpc_text.h"
#include <stdio.h>

#define NV(name_, value_, len_, flags_)                                                            \
    {                                                                                              \
        (uint8_t *)(uintptr_t)(name_), (uint8_t *)(uintptr_t)(value_), sizeof(name_) - 1, (len_),  \
            NGHTTP2_NV_FLAG_NO_COPY_NAME | (flags_)                                                \
    }
#define NV_LITERAL(name_, value_)                                                                  \
    NV(name_, value_, sizeof(value_) - 1, NGHTTP2_NV_FLAG_NO_COPY_VALUE)

enum { STATUS_FIELDS = 2, ENCODED_TEXT_MAX = 3 * GRPC_TEXT_MAX };

struct status_text {
    char number[4];
    char message[ENCODED_TEXT_MAX];
};

static void status_of(const struct grpc_call *c, enum grpc_code *code, const char **text)
{
    *code = c->overrule_text ? c->overrule_code : c->code;
    *text = c->overrule_text ? c->overrule_text : c->text ? c->text : "";
}

/* grpc-status and, on failure, grpc-message; returns how many fields. */
static size_t status_fields(const struct grpc_call *c, struct status_text *t, nghttp2_nv *nv)
{
    enum grpc_code code;
    const char *text;
    status_of(c, &code, &text);
    if (code == GRPC_OK) {
        nv[0] = (nghttp2_nv)NV_LITERAL("grpc-status", "0");
        return 1;
    }
    int len = snprintf(t->number, sizeof t->number, "%d", (int)code);
    nv[0] = (nghttp2_nv)NV("grpc-status", t->number, (size_t)len, 0);
    size_t message = grpc_message_encode(text, t->message, sizeof t->message);
    nv[1] = (nghttp2_nv)NV("grpc-message", t->message, message, 0);
    return 2;
}

static void submit_trailers(struct stream *s)
{
    const struct grpc_call *c = (const struct grpc_call *)s;
    struct status_text text;
    nghttp2_nv nv[STATUS_FIELDS];
    size_t n = status_fields(c, &text, nv);
    nghttp2_submit_trailer(s->h2->session, s->id, nv, n);
}

void grpc_call_submit_headers(struct grpc_call *c)
{
    static const nghttp2_nv nv[] = {NV_LITERAL(":status", "200"),
                                    NV_LITERAL("content-type", "application/grpc")};
    nghttp2_data_provider data = {.source.ptr = &c->stream, .read_callback = stream_read_data};
    c->stream.at_end = submit_trailers;
    c->response_started = true;
    nghttp2_submit_response(c->stream.h2->session, c->stream.id, nv, 2, &data);
}

static void submit_trailers_only(struct grpc_call *c, const char *http_status)
{
    struct status_text text;
    nghttp2_nv nv[2 + STATUS_FIELDS] = {
        {(uint8_t *)(uintptr_t) ":status", (uint8_t *)(uintptr_t)http_status, 7, 3, 0},
        NV_LITERAL("content-type", "application/grpc"),
    };
    size_t n = 2 + status_fields(c, &text, nv + 2);
    c->response_started = true;
    nghttp2_submit_response(c->stream.h2->session, c->stream.id, nv, n, NULL);
}

void grpc_call_answer(struct grpc_call *c, const char *http_status)
{
    enum grpc_code code;
    const char *text;
    status_of(c, &code, &text);
    c->finished = true;
    if (c->method && c->method->started)
        rt_counter_add(c->method->handled[c->closed ? GRPC_CANCELLED : code], 1);
    if (c->closed)
        return;
    if (c->reply && !c->overrule_text) {
        atomic_fetch_add(&c->stream.unsent, c->reply->len);
        stream_queue(&c->stream, c->reply);
        c->reply = NULL;
    }
    if (!c->response_started && !c->stream.out_first) {
        submit_trailers_only(c, http_status);
        return;
    }
    stream_end_output(&c->stream);
    if (!c->response_started)
        grpc_call_submit_headers(c);
}
