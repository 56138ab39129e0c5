/* kv/store/txn_keys.h: no key may be changed twice in one transaction, by etcd's rule:
 *
 *  - two puts of one key collide, unless they stand in different branches of the same transaction
 *    (only one of those is carried out);
 *  - a put and a delete of one key collide when either stands directly in the list of operations
 *    that holds both; or when both are inside transactions of that list, the delete's one first.
 *    Again not when they are in different branches of one transaction;
 *  - two deletes never collide, ranges collide with nothing. */
#pragma once
#include "kv/store/request.h"

/* 0, STORE_DUPLICATE_KEY, STORE_MALFORMED; STORE_TOO_MANY_OPS when the deletes and puts of a
 * transaction cross so often that checking them would take too long (millions of pairs). Both
 * branches, whatever the compares say.  Requires: nesting was checked. */
int txn_keys_check(struct rt_bytes txn);
