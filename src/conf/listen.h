/* One entry of the option listen:
 *
 *     [http://|https://]ADDRESS:PORT[?proxy]     unix:/PATH[?mode=0660][&proxy]
 *
 * The address is numeric. The same text works in the file, in the environment and as a flag. Pure;
 * any thread. */
#pragma once

#include "base/str.h"

enum listen_scheme {
    LISTEN_AS_CONFIGURED, /* TLS when there is a certificate, else plain */
    LISTEN_HTTP,
    LISTEN_HTTPS,
};

struct listen_entry {
    enum listen_scheme scheme;
    str address;   /* "127.0.0.1:5000"; p == NULL for a unix socket */
    str path;      /* of a unix socket, absolute; p == NULL for an address */
    unsigned mode; /* of a unix socket */
    bool proxy;    /* every connection begins with a PROXY protocol header */
};

enum { LISTEN_MODE_DEFAULT = 0660 };

/* NULL, or what is wrong, to stand behind a colon; *ret is set on success, its slices point into
 * s. */
const char *listen_entry_parse(str s, struct listen_entry *ret);
