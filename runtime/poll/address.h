/* poll/address.h: "host:port" and "unix:/path" to what the system calls want, and back. */
#pragma once
#include "rt/why.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { ADDRESS_RESOLVED_MAX = 8, ADDRESS_TEXT = 8 + sizeof(((struct sockaddr_un *)0)->sun_path) };

struct address {
    struct sockaddr_storage data;
    socklen_t len;
};

struct addresses {
    int count;
    struct address list[ADDRESS_RESOLVED_MAX];
};

/* Parse `text`, asking the resolver when the host is a name. `passive`: to listen on; then an empty
 * host and "*" mean every interface, otherwise this machine. 0; -EINVAL: not an address; -ENOENT:
 * no such name; -EAGAIN: the resolver cannot tell now; -ETIMEDOUT: it has not told by the deadline, and
 * goes on without us. `why` gets the facts.  Context: parks. */
int address_resolve(const char *text, bool passive, int64_t deadline_ns, struct addresses *out,
                    struct why *why);

/* "127.0.0.1:80", "[::1]:80", "unix:/path", "unix:" for a socket without name. Returns text. */
char *address_text(const struct sockaddr_storage *data, socklen_t len, char text[ADDRESS_TEXT]);

/* Cut "host:port" or "[host]:port" into its host, without brackets, and its port. 0 or -EINVAL with
 * why.  Context: never parks. */
enum { ADDRESS_HOST_MAX = 256 };
int address_split(const char *text, char host[ADDRESS_HOST_MAX], uint16_t *port_out,
                  struct why *why);
