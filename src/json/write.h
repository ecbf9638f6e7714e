/* Writing JSON: appends to a buffer; commas and escaping are done here and nowhere else.
 *
 *     struct json_writer w = {.out = &buf};
 *     json_object(&w); json_key(&w, "name"); json_str(&w, name); json_end(&w);
 *
 * Invalid UTF-8 is written as U+FFFD. The buffer's ceiling bounds the output. */
#pragma once

#include "base/buf.h"

struct json_writer {
    struct buf *out;
    uint64_t is_array; /* bit per level */
    unsigned depth;    /* at most 63 */
    bool comma;        /* the next value needs one */
    bool after_key;
};

void json_object(struct json_writer *w);
void json_array(struct json_writer *w);
/* Closes the innermost object or array. */
void json_end(struct json_writer *w);
void json_key(struct json_writer *w, const char *key);
void json_key_str(struct json_writer *w, str key);
void json_str(struct json_writer *w, str s);
void json_int(struct json_writer *w, int64_t v);
void json_bool(struct json_writer *w, bool v);
void json_null(struct json_writer *w);
/* `text` is a complete JSON value already. */
void json_raw(struct json_writer *w, str text);
/* key and string value in one call. */
void json_field(struct json_writer *w, const char *key, str value);
