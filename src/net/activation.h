/* Sockets that the service manager opened before it started this process: the variables LISTEN_PID,
 * LISTEN_FDS and LISTEN_FDNAMES of sd_listen_fds(3). */
#pragma once

#include "net/listener.h"

enum { ACTIVATION_SOCKETS_MAX = 64 };

struct activated {
    struct listener listener;
    str name; /* as the service manager calls it; may be empty */
};

/* Takes the passed sockets over, once: the variables are removed. *ret is in the arena, *ret_n 0
 * when none were passed to this process. ERR_CONFIG when one is no listening stream socket. Before
 * other threads exist: it changes the environment. */
NODISCARD enum err activation_take(struct activated **ret, size_t *ret_n, struct arena *a,
                                   struct error *why);
