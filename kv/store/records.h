/* kv/store/records.h: what is replicated beside keys and leases: alarms, and records of the cluster
 * that only the member understands. Few and small, kept sorted. */
#pragma once
#include "kv/store/store.h"
#include <rt/sync.h>

enum { ALARM_NAME_BYTES = 10 }; // "a", type, member

struct record {
    struct rt_bytes key, value; // one allocation, `key.data` is its start
};

struct records {
    struct rt_mutex lock; // all below; the atomics may be read without it
    struct store_alarm alarms[STORE_ALARMS];
    uint32_t alarm_count;
    _Atomic uint32_t alarms_of[3]; // by type
    struct record *records;
    uint32_t record_count, record_cap;
};
void records_clear(struct records *r);
void records_deinit(struct records *r);
/* True when that changed something. set: false also when there are STORE_ALARMS. */
bool records_set_alarm(struct records *r, struct store_alarm alarm);
bool records_clear_alarm(struct records *r, struct store_alarm alarm);
void records_put(struct records *r, struct rt_bytes key, struct rt_bytes value); // empty: remove
void alarm_name_put(uint8_t out[ALARM_NAME_BYTES], struct store_alarm alarm);
bool alarm_name_get(struct rt_bytes name, struct store_alarm *out);
