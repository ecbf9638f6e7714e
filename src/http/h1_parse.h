/* HTTP/1.1 message syntax (RFC 9112), strict: everything a smuggler could use is refused.
 *
 * Refused: bare CR or LF, obsolete line folding, white space before the colon or around the method
 * and version, control characters, Content-Length together with Transfer-Encoding, repeated
 * Content-Length (also equal ones in one field), lengths that are not plain decimal digits, any
 * transfer coding but exactly `chunked`, tabs around either, Transfer-Encoding in HTTP/1.0, a
 * missing or repeated Host in HTTP/1.1, a target that is neither origin form nor absolute form
 * (http, https), fragments, and characters in the target outside RFC 3986. Pure; no I/O. */
#pragma once

#include "http/head.h"

/* Length of the head at the start of `bytes`, with its empty line, or 0 when it is not complete.
 * *scanned (start with 0) remembers how far earlier calls looked, so growth costs O(n) in all. One
 * leading empty line (CRLF) counts as part of the head. */
size_t h1_head_length(str bytes, size_t *scanned);

/* Parses a complete head. Slices point into `head`, but lower-cased names and an absolute target's
 * parts may live in the arena. Errors: ERR_BAD_REQUEST, ERR_HEAD_TOO_LARGE, ERR_TARGET_TOO_LONG,
 * ERR_NOT_IMPLEMENTED (method, coding), ERR_VERSION, ERR_EXPECTATION_FAILED, with `why` telling a
 * person what was wrong, without repeating header values. */
NODISCARD enum err h1_head_parse(str head, const struct head_limits *limits, struct arena *a,
                                 struct head *ret, struct error *why);

/* Chunked coding, decoding incrementally (RFC 9112 7.1). Extensions are skipped, trailers are
 * checked for syntax and dropped; both are bounded (1 KiB a line, 8 KiB of trailers). */
struct h1_chunked {
    uint64_t left;  /* bytes left in this chunk */
    uint64_t total; /* data bytes so far */
    unsigned state;
    unsigned line_bytes, trailer_bytes;
    bool done;
};

/* Takes bytes off the front of *in. Sets *data to the next run of body bytes (a slice of the input,
 * maybe empty). Call until *in is empty or c->done. ERR_BAD_REQUEST on malformed framing. */
NODISCARD enum err h1_chunked_next(struct h1_chunked *c, str *in, str *data);
