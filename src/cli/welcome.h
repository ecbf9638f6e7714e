/* What a person sees when the server is up: where it is and the lines to copy. */
#pragma once

#include "base/arena.h"

struct welcome {
    str address;      /* of a listener */
    str url;          /* server.url, or empty */
    str data;         /* data directory */
    bool secure;      /* https there */
    str self_signed;  /* path of the certificate that clients must be told to trust, or empty */
    str password;     /* to be told: a terminal shows it; p == NULL: none */
    bool open_to_all; /* no login needed */
};

/* Prints to standard output; false when that took not all of it. The password itself appears only
 * on a terminal, and there always; otherwise the file DIR/admin-password is named. */
bool welcome_print(const struct welcome *w, struct arena *a);
