/* Unix stream sockets named by a path. A path may be longer than a socket address holds (107 bytes)
 * as long as its last component is short. */
#pragma once

#include "base/err.h"

/* Binds and listens: non-blocking, close-on-exec. `mode` says who may connect; until it holds, the
 * owner and root only. A socket that its owner left behind is replaced; ERR_BUSY when one is
 * listened on, ERR_EXISTS when something else is there. `why` names the path. */
NODISCARD enum err unix_listen(str path, unsigned mode, int *ret_fd, struct arena *a,
                               struct error *why);

/* Removes the socket; before its descriptor is closed, so that nobody else's is removed. */
void unix_unlink(str path);

/* A blocking, close-on-exec socket connected to who listens there. ERR_NOT_FOUND when nobody does,
 * ERR_PERMISSION when this user may not. `why` names the path. */
NODISCARD enum err unix_connect(str path, int *ret_fd, struct arena *a, struct error *why);

/* User of the process at the other end when it connected. False when the kernel does not tell. */
NODISCARD bool unix_peer_uid(int fd, uint32_t *ret);
