/* Writing JSON: appends to a buffer; commas and escaping are done here and nowhere else.
 *
 *     struct json_writer w = {.out = &buf};
 *     jw_object(&w); jw_key(&w, "name"); jw_str(&w, name); jw_end(&w);
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

void jw_object(struct json_writer *w);
void jw_array(struct json_writer *w);
/* Closes the innermost object or array. */
void jw_end(struct json_writer *w);
void jw_key(struct json_writer *w, const char *key);
void jw_key_str(struct json_writer *w, str key);
void jw_str(struct json_writer *w, str s);
void jw_int(struct json_writer *w, int64_t v);
void jw_bool(struct json_writer *w, bool v);
void jw_null(struct json_writer *w);
/* `text` is a complete JSON value already. */
void jw_raw(struct json_writer *w, str text);
/* key and string value in one call. */
void jw_field(struct json_writer *w, const char *key, str value);
