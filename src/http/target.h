/* Request targets and authorities (RFC 9112 3.2, RFC 3986), for every HTTP version. Pure. */
#pragma once

#include "base/arena.h"

struct target {
    str path;      /* raw; starts with '/' */
    str query;     /* raw, after '?'; empty without */
    str authority; /* host[:port] of the absolute form; p == NULL in the origin form */
};

/* Accepts the origin form and the absolute form with http or https and without user information.
 * Refuses characters outside RFC 3986, fragments, malformed escapes and %00 in the path, and path
 * segments that are "." or "..", also when escaped. Slices point into `target` or to constants.
 * On false *why is a sentence fragment for people, a constant. */
NODISCARD bool target_parse(str target, struct target *ret, const char **why);

/* host[:port] with a name, an IPv4 address or an [IPv6] literal; neither part empty. */
bool authority_valid(str authority);
