/* Copying files that never change once they are there: blobs, between a data directory and a
 * backup. Blocks. */
#pragma once

#include "blob/digest.h"

enum copy_how { COPY_KEPT, COPY_LINKED, COPY_CLONED, COPY_WRITTEN, COPY_HOWS };

struct copy {
    bool links;  /* a hard link will do */
    bool clones; /* sharing blocks will do (FICLONE), where the file system can */
    bool verify; /* also a clone is read and compared; what is written always is */
    /* Results. */
    uint64_t files[COPY_HOWS], bytes[COPY_HOWS];
};

/* Makes `name` in one directory what it is in another: `size_bytes` that hash to `digest`. A file
 * of that size is kept, since one appears there only whole and synced; its name is durable when the
 * caller has synced the directory. ERR_NOT_FOUND: there is no such file; ERR_SIZE_INVALID,
 * ERR_DIGEST_INVALID: it holds something else. Then, and after any other error, there is none of
 * that name where it was to go. */
NODISCARD enum err copy_file(struct copy *c, int from_dir, int to_dir, const char *name,
                             uint64_t size_bytes, const struct digest *digest);
