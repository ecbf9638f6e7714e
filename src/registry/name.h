/* Names: repositories, tags, references (OCI distribution specification, "Pulling manifests").
 * Hand-written scanners; pure. */
#pragma once

#include "base/arena.h"
#include "blob/digest.h"

enum { NAME_LENGTH_MAX = 200, TAG_LENGTH_MAX = 128 };

/* A repository as asked for and as it is stored: `app` is the repository `library/app`. Answers
 * echo `asked`; the database, audit and permissions know `full` only. */
struct name {
    str asked;
    str full;
    str project; /* first component of full */
};

/* ERR_NAME_INVALID when the grammar or the length does not hold; `why` says which rule. */
NODISCARD enum err name_parse(struct arena *a, str asked, struct name *ret, struct error *why);

/* Whether a pattern of option type REPOSITORIES (`team/app`, `team/` and `*`, or `*`) covers a full
 * name. */
bool name_matches(str full, str pattern);

/* [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127} */
bool tag_is_valid(str tag);

/* A manifest reference: a digest when it holds a ':', else a tag. */
struct reference {
    bool is_digest;
    struct digest digest;
    str tag;
    str text; /* as asked */
};

/* ERR_DIGEST_INVALID or ERR_TAG_INVALID, with `why`. */
NODISCARD enum err reference_parse(struct arena *a, str text, struct reference *ret,
                                   struct error *why);
