/* The head of an HTTP/2 request (RFC 9113 8.2, 8.3), as strict as HTTP/1.1's: what h1_parse.h
 * refuses is refused here too, with the same errors. Pure; no I/O.
 *
 * Refused beside: pseudo-fields that are unknown, repeated, empty or behind others, fields that
 * belong to one connection, a scheme other than http and https, a path that is not in the origin
 * form, and a Host that contradicts :authority. Cookie fields are joined (8.2.3). */
#pragma once

#include "http/head.h"

struct h2_head {
    struct head_limits limits;
    struct head_fields fields;
    str method, scheme, authority, path; /* p == NULL: not seen */
    size_t bytes;                        /* as SETTINGS_MAX_HEADER_LIST_SIZE counts */
    unsigned cookie_n;
    enum err error; /* the first thing that was wrong */
};

void h2_head_init(struct h2_head *h, const struct head_limits *limits, struct arena *a,
                  struct error *why);
/* Takes a field, whose bytes are copied into the arena while all of them fit the limits. False when
 * they are so far beyond that the peer means harm. */
NODISCARD bool h2_head_add(struct h2_head *h, str name, str value);
/* A field was malformed. */
void h2_head_bad(struct h2_head *h);
/* All fields are there; `ended`: no body follows. Errors as those of h1_head_parse. */
NODISCARD enum err h2_head_finish(struct h2_head *h, bool ended, struct head *ret);
