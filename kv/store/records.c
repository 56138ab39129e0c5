/* kv/store/records.c: see records.h. */
#include "kv/store/records.h"
#include "kv/store/state.h"
#include <assert.h>

void records_clear(struct records *r)
{
    rt_mutex_lock(&r->lock);
    for (uint32_t i = 0; i < r->record_count; i++)
        rt_free((void *)r->records[i].key.data);
    r->record_count = 0;
    r->alarm_count = 0;
    for (int type = 0; type < 3; type++)
        atomic_store(&r->alarms_of[type], 0);
    rt_mutex_unlock(&r->lock);
}

void records_deinit(struct records *r)
{
    records_clear(r);
    rt_free(r->records);
}

static int alarm_order(struct store_alarm a, struct store_alarm b)
{
    if (a.type != b.type)
        return a.type < b.type ? -1 : 1;
    return (a.member > b.member) - (a.member < b.member);
}

/* The first place whose alarm is not before `alarm`. */
static uint32_t alarm_place(const struct records *r, struct store_alarm alarm, bool *found)
{
    uint32_t i = 0;
    while (i < r->alarm_count && alarm_order(r->alarms[i], alarm) < 0)
        i++;
    *found = i < r->alarm_count && alarm_order(r->alarms[i], alarm) == 0;
    return i;
}

bool records_set_alarm(struct records *r, struct store_alarm alarm)
{
    bool found;
    rt_mutex_lock(&r->lock);
    uint32_t i = alarm_place(r, alarm, &found);
    bool set = !found && r->alarm_count < STORE_ALARMS;
    if (set) {
        memmove(r->alarms + i + 1, r->alarms + i, (r->alarm_count - i) * sizeof *r->alarms);
        r->alarms[i] = alarm;
        r->alarm_count++;
        atomic_fetch_add(&r->alarms_of[alarm.type], 1);
    }
    rt_mutex_unlock(&r->lock);
    return set;
}

bool records_clear_alarm(struct records *r, struct store_alarm alarm)
{
    bool found;
    rt_mutex_lock(&r->lock);
    uint32_t i = alarm_place(r, alarm, &found);
    if (found) {
        r->alarm_count--;
        memmove(r->alarms + i, r->alarms + i + 1, (r->alarm_count - i) * sizeof *r->alarms);
        atomic_fetch_sub(&r->alarms_of[alarm.type], 1);
    }
    rt_mutex_unlock(&r->lock);
    return found;
}

static uint32_t record_place(const struct records *r, struct rt_bytes key, bool *found)
{
    uint32_t low = 0, high = r->record_count;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (rt_bytes_compare(r->records[mid].key, key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    *found = low < r->record_count && rt_bytes_equal(r->records[low].key, key);
    return low;
}

static struct record record_new(struct rt_bytes key, struct rt_bytes value)
{
    uint8_t *p = rt_alloc(key.len + value.len + 1);
    memcpy(p, key.data, key.len);
    memcpy(p + key.len, value.data, value.len);
    return (struct record){{p, key.len}, {p + key.len, value.len}};
}

void records_put(struct records *r, struct rt_bytes key, struct rt_bytes value)
{
    bool found;
    assert(key.len > 0);
    rt_mutex_lock(&r->lock);
    uint32_t i = record_place(r, key, &found);
    if (found) {
        rt_free((void *)r->records[i].key.data);
        r->record_count--;
        memmove(r->records + i, r->records + i + 1, (r->record_count - i) * sizeof *r->records);
    }
    if (value.len > 0) {
        if (r->record_count == r->record_cap) {
            r->record_cap = r->record_cap ? 2 * r->record_cap : 16;
            r->records = rt_realloc(r->records, r->record_cap * sizeof *r->records);
        }
        memmove(r->records + i + 1, r->records + i, (r->record_count - i) * sizeof *r->records);
        r->records[i] = record_new(key, value);
        r->record_count++;
    }
    rt_mutex_unlock(&r->lock);
}

void alarm_name_put(uint8_t out[ALARM_NAME_BYTES], struct store_alarm alarm)
{
    out[0] = 'a';
    out[1] = (uint8_t)alarm.type;
    for (int i = 0; i < 8; i++)
        out[2 + i] = (uint8_t)(alarm.member >> (56 - 8 * i));
}

bool alarm_name_get(struct rt_bytes name, struct store_alarm *out)
{
    if (name.len != ALARM_NAME_BYTES || name.data[0] != 'a' || name.data[1] < STORE_ALARM_NOSPACE ||
        name.data[1] > STORE_ALARM_CORRUPT)
        return false;
    *out = (struct store_alarm){.type = name.data[1]};
    for (int i = 0; i < 8; i++)
        out->member = out->member << 8 | name.data[2 + i];
    return true;
}

uint32_t store_alarms(struct store *s, enum store_alarm_type type, struct store_alarm *out,
                      uint32_t max)
{
    struct records *r = &s->records;
    uint32_t n = 0;
    rt_mutex_lock(&r->lock);
    for (uint32_t i = 0; i < r->alarm_count; i++)
        if (type == STORE_ALARM_NONE || r->alarms[i].type == type) {
            if (n < max)
                out[n] = r->alarms[i];
            n++;
        }
    rt_mutex_unlock(&r->lock);
    return n;
}

bool store_has_alarm(const struct store *s, enum store_alarm_type type)
{
    if (type == STORE_ALARM_NONE)
        return store_has_alarm(s, STORE_ALARM_NOSPACE) || store_has_alarm(s, STORE_ALARM_CORRUPT);
    return atomic_load(&s->records.alarms_of[type]) > 0;
}

int store_cluster_get(struct store *s, struct rt_bytes key, struct rt_string *out)
{
    bool found;
    rt_mutex_lock(&s->records.lock);
    uint32_t i = record_place(&s->records, key, &found);
    if (found)
        rt_string_append(out, s->records.records[i].value.data, s->records.records[i].value.len);
    rt_mutex_unlock(&s->records.lock);
    return found;
}

void store_cluster_each(struct store *s,
                        void (*each)(void *arg, struct rt_bytes key, struct rt_bytes record),
                        void *arg)
{
    rt_mutex_lock(&s->records.lock);
    for (uint32_t i = 0; i < s->records.record_count; i++)
        each(arg, s->records.records[i].key, s->records.records[i].value);
    rt_mutex_unlock(&s->records.lock);
}
