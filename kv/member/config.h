/* kv/member/config.h: from what the caller gave to what the member runs with. */
#pragma once
#include "kv/member/bootstrap.h"
#include "kv/member/urls.h"

struct member;

/* Copy the settings, fill in defaults, parse and check. 0 or MEMBER_BAD_CONFIG with why. */
int member_config_fill(struct member *m, const struct member_config *from, struct why *why);

/* Who this member is in a new cluster: of --initial-cluster. 0 or MEMBER_BAD_CONFIG with why. */
int member_config_identity(struct member *m, struct member_seeds *seeds, struct identity *out,
                           struct why *why);
