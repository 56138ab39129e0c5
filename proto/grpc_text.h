/* proto/grpc_text.h: gRPC's small text forms, for both sides. Context of all: never parks. */
#pragma once
#include <rt/bytes.h>
#include <stdint.h>

/* grpc-message: everything but printable ASCII, and '%', becomes %XX. Returns the length written,
 * cut to cap at a whole character of the encoding. Decoding leaves what is no %XX as it is. */
size_t grpc_message_encode(const char *text, char *out, size_t cap);
size_t grpc_message_decode(struct rt_bytes text, char *out, size_t cap); // with a NUL; cap > 0

enum { GRPC_TIMEOUT_TEXT_MAX = 16 };
/* grpc-timeout: up to eight digits and one of H M S m u n. 0 or -EINVAL. */
int grpc_timeout_parse(struct rt_bytes text, int64_t *ns_out);
/* The finest unit whose number has eight digits. Returns the length. */
size_t grpc_timeout_format(int64_t ns, char out[GRPC_TIMEOUT_TEXT_MAX]);

/* Is it application/grpc, application/grpc+... or application/grpc;...? */
bool grpc_content_type_is_valid(struct rt_bytes value);
