/* What stands on a data directory: lock, database, blob store, logins. Both "berth serve" and the
 * commands that work without a server need it. Blocks. */
#pragma once

#include "api/app.h"

/* Worker threads that the configuration asks for, or that suit the machine. */
unsigned app_workers_n(const struct conf *conf);

/* Takes DIR/lock (*lock_fd, -1 before) and opens the rest. On failure `why` may tell more, and
 * app_close is still due. ERR_BUSY when another process has the directory. */
NODISCARD enum err app_open(struct app *app, const struct conf *conf, unsigned readers_n,
                            int *lock_fd, struct arena *a, struct error *why);
void app_close(struct app *app, int *lock_fd);

/* Path of the admin socket; p == NULL when the configuration wants none. */
str app_admin_socket(const struct conf *conf, struct arena *a);
