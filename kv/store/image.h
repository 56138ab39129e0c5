/* kv/store/image.h: what a stream of an image looks like. Chunks, in order:
 *
 *     offset  size  field (little-endian)
 *          0     4  crc       CRC-32C of the rest of the chunk
 *          4     4  kind      BEGIN, META, ROWS, END
 *          8     8  sequence  1, 2, 3, ...
 *         16     4  length of the payload
 *         20     n  payload
 *
 *     BEGIN   the state record (backend.h): what the image holds when it is complete
 *     META    records of the table "meta" but the state: 2 bytes name length, 4 bytes value length,
 *             name, value, again and again
 *     ROWS    rows in order of revision, in the same form
 *     END     8 bytes: the number of rows
 *
 * A chunk that is lost, doubled, out of order or bent is found by its sequence or crc; a stream that
 * was cut has no END. */
#pragma once
#include "kv/store/row.h"
#include <rt/alloc.h>

enum image_kind { IMAGE_BEGIN = 1, IMAGE_META, IMAGE_ROWS, IMAGE_END };
enum { IMAGE_HEADER_BYTES = 20 };

/* Room for the header; then append the payload; then fill the header in. */
size_t image_chunk_begin(struct rt_string *out);
void image_chunk_end(struct rt_string *out, size_t begin, enum image_kind kind, uint64_t sequence);
/* 0 or STORE_DAMAGED. */
int image_chunk_read(struct rt_bytes chunk, uint64_t sequence, enum image_kind *kind,
                     struct rt_bytes *payload);

void image_record_add(struct rt_string *out, struct rt_bytes name, struct rt_bytes value);
/* 1 with the next record, *rest moved; 0 at the end; STORE_DAMAGED. */
int image_record_next(struct rt_bytes *rest, struct rt_bytes *name, struct rt_bytes *value);
