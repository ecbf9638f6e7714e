/* The data directory: made durably, held by one process at a time. Blocks. */
#pragma once

#include "base/err.h"

/* Name of a file in a data directory that a restore has not finished. */
#define DATA_DIR_RESTORING "restoring"

/* Makes `dir` and its missing parents (0700), each synced into its parent. */
NODISCARD enum err data_dir_make(str dir, struct arena *a, struct error *why);

/* Refuses (ERR_CONFIG) a directory that a restore was to fill and has not. */
NODISCARD enum err data_dir_check_whole(str dir, struct arena *a, struct error *why);

/* data_dir_make, and takes DIR/lock.
 * *lock_fd holds the lock until it is closed. ERR_BUSY when another process has it. */
NODISCARD enum err data_dir_take(str dir, struct arena *a, int *lock_fd, struct error *why);

/* Writes a small file readable by its owner only, durably, replacing what was there. */
NODISCARD enum err data_dir_write_secret(str dir, const char *name, str content, struct arena *a,
                                         struct error *why);

/* Reads such a small file, without a line break at its end. ERR_NOT_FOUND: there is none;
 * ERR_LIMIT: it holds more than `bytes_max`. */
NODISCARD enum err data_dir_read_secret(str dir, const char *name, size_t bytes_max,
                                        struct arena *a, str *ret, struct error *why);

/* Removes it, durably. That there is none is no error. */
NODISCARD enum err data_dir_remove_secret(str dir, const char *name, struct arena *a,
                                          struct error *why);
