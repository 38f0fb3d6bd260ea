/* protocol.h: what a tune's processes say to each other: JSON objects in checked frames over a stream.
 *
 *   "MJP1" | payload bytes, u32 little-endian | CRC-32 of the payload, u32 little-endian | payload (one JSON object)
 *
 * A frame that is too long, does not start with the magic or fails its checksum is MJ_ERR_FORMAT; the stream is then of no
 * further use and the process at its other end is replaced. */
#ifndef MOEJIT_PROTOCOL_H
#define MOEJIT_PROTOCOL_H

#include "json.h"

#define MJ_FRAME_HEAD_BYTES 12
#define MJ_FRAME_BYTES_MAX  (8u << 20)

/* CRC-32 (IEEE 802.3, reflected), also the journal's. */
uint32_t mj_crc32(const void *data, size_t bytes);

/* Malloc'ed frame around `payload`. MJ_ERR_CAPACITY above MJ_FRAME_BYTES_MAX. */
mj_status mj_frame_encode(const char *payload, size_t bytes, char **out, size_t *out_bytes, mj_error *error);

/* Collects bytes as they come and hands out whole payloads. Zero-initialise; free with mj_frame_reader_free. */
typedef struct mj_frame_reader {
    char *data;
    size_t bytes, capacity_bytes;
    bool broken; /* a bad frame was seen: nothing more is handed out */
} mj_frame_reader;

void mj_frame_reader_free(mj_frame_reader *reader);
mj_status mj_frame_feed(mj_frame_reader *reader, const void *data, size_t bytes, mj_error *error);
/* The next message, owned by the caller (mj_json_free). MJ_ERR_NOT_FOUND: not complete yet. */
mj_status mj_frame_next(mj_frame_reader *reader, mj_json **out, mj_error *error);

#endif
