/* kv/store/check.h: is a request one that can be carried out at all? The same check before it is
 * proposed (store_check, with the member's limits) and, without limits, when it is applied. */
#pragma once
#include "kv/store/request.h"

int check_request(enum store_command_kind kind, struct rt_bytes request, uint32_t max_txn_ops,
                  struct store_request *out);
/* 0 or STORE_KEY_EMPTY, STORE_BAD_SORT, STORE_MALFORMED. */
int check_range(struct rt_bytes request);
