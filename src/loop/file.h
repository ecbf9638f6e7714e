/* A shared read-only file descriptor with a reference count. Any thread. */
#pragma once

#include "base/err.h"

#include <stdatomic.h>

struct file {
    int fd;
    uint64_t size_bytes;
    atomic_uint refs;
};

/* Takes over `fd`; one reference. */
struct file *file_new(int fd, uint64_t size_bytes);
struct file *file_ref(struct file *f);
/* NULL-safe; closes at the last reference. */
void file_unref(struct file *f);
