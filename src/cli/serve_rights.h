/* What a starting server gives up, in order, and what it says of it in the log. */
#pragma once

#include "cli/confine.h"
#include "cli/privilege.h"

/* Becomes `id`, hardens the process and confines it; makes the data directory. After everything was
 * opened that needs more than that user's rights, and before there are other threads. */
NODISCARD enum err serve_rights_give_up(struct confinement *ret, const struct identity *id,
                                        const struct conf *conf, str config_file,
                                        const struct sockets *sockets, struct arena *a,
                                        struct error *why);
