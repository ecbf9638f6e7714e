/* Images that share layers, a part of them without tags: what a collection of the untagged in
 * bulk has to tell apart. */
#pragma once

#include "db/db.h"

enum {
    IMAGE_LAYERS = 10, /* of each image; its config is one blob for all */
    IMAGE_SHARE = 10,  /* repositories whose images of the same number have the same layers */
};

/* n images in bulk/r0, bulk/r1, ... of the data directory `dir`: of every three, one is tagged
 * nowhere, one only in the repositories of odd number, one in all. *repositories gets how many
 * repositories that makes. The database's only user. */
NODISCARD enum err fill_images(struct db *db, str dir, uint64_t n, int64_t now_us,
                               uint64_t *repositories, struct error *why);
