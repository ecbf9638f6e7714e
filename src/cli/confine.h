/* Confinement by Landlock: from here on the process reaches the files its options name, some of the
 * system's that libraries read, and nothing else; it can bind no further ports.
 *
 * What may be done with a path follows from its row in conf/options.def: the flag WRITE opens the
 * directory for everything, SOCKET the directory around it for sockets, and every other PATH the
 * directory around it for reading, and when it is a link, the one around the file that it leads to.
 * Files that are open already are not concerned. */
#pragma once

#include "cli/sockets.h"
#include "conf/conf.h"

/* By enum confine_mode; the words of the option confine. */
enum confine_mode { CONFINE_AUTO, CONFINE_OFF, CONFINE_REQUIRED };

struct confinement {
    unsigned abi;            /* of Landlock, as the kernel has it; 0: not confined */
    str reason;              /* why not, for people */
    struct conf_list writes; /* paths that may be written below */
    struct conf_list reads;  /* ... that may be read below, without the system's */
    bool ports;              /* no further ports can be bound */
};

/* Confines the calling thread and those it starts from now on; for good. `config_file` may be
 * empty. With CONFINE_REQUIRED, ERR_CONFIG when it cannot be. */
NODISCARD enum err confine(struct confinement *ret, const struct conf *conf, str config_file,
                           const struct sockets *sockets, struct arena *a, struct error *why);

/* Whether a file can still be opened for reading as far as this goes. */
bool confinement_covers(const struct confinement *c, str path, struct arena *tmp);
