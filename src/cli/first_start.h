/* What a start finds or makes before anyone can log in: the public project `library`, and the user
 * admin, whose generated password is on the disk before the user is, and until somebody saw it. */
#pragma once

#include "cli/app.h"

/* The file in the data directory that holds the password. */
#define FIRST_START_PASSWORD "admin-password"

/* Makes what is not there yet. *password (arena) is what is to be told: that of a new admin whose
 * password was not configured; on a terminal also one that no earlier start could show, if it is
 * still admin's. p == NULL otherwise. The lock is held and no worker runs. Blocks. */
NODISCARD enum err first_start(struct app *app, bool terminal, struct arena *a, str *password,
                               struct error *why);
/* Removes the file once the password was shown. Blocks. */
NODISCARD enum err first_start_shown(str dir, struct arena *a, struct error *why);
