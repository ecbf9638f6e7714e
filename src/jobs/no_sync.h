/* For tests that are not about power that fails, as disks are slow: what the store and SQLite call
 * to make something durable does nothing. Included by one file of a program. */
#pragma once

#include <unistd.h>

int fsync(int fd)
{
    return fd < 0;
}

int fdatasync(int fd)
{
    return fd < 0;
}
