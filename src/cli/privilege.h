/* Giving up what the process does not need to go on: the rights of root, and ways for secrets to
 * leave its memory. All of it before there are other threads. */
#pragma once

#include "cli/sockets.h"
#include "conf/conf.h"

/* Who the process is to be: the option user. */
struct identity {
    bool change; /* else it stays who it is */
    bool listed; /* the user is in the list of users, so has further groups */
    unsigned uid, gid;
    str user, group; /* as they were written, or as the lists have them */
};

/* Reads "", "user", "user:group", numbers in place of either. ERR_CONFIG when there is no such user
 * or group, or the process may not become it. Blocks on the lists of users. */
NODISCARD enum err identity_find(str text, struct identity *ret, struct arena *a,
                                 struct error *why);

/* Makes the data directory when it is missing, gives it and the sockets to the identity, and
 * becomes it for good: no way back is left, in this process or a program it would start.
 * ERR_PERMISSION, with the command that helps, when the data would not be usable. */
NODISCARD enum err privilege_drop(const struct identity *id, const struct conf *conf,
                                  const struct sockets *sockets, struct arena *a,
                                  struct error *why);

/* No core dumps and no reading of this process's memory by others of its user, unless `core_dumps`;
 * no further rights from programs it might start. */
NODISCARD enum err privilege_harden(bool core_dumps, struct arena *a, struct error *why);
