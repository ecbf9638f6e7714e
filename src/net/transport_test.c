#include "base/test.h"
#include "net/transport.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

static struct transport pair(int *other)
{
    int fds[2];
    struct transport t;
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    transport_init_tcp(&t, fds[0]);
    *other = fds[1];
    return t;
}

static ssize_t write_text(struct transport *t, const char *z)
{
    const struct iovec v = {(void *)z, strlen(z)};
    return t->ops->writev(t, &v, 1, false);
}

static void reads_and_writes(void)
{
    int other;
    char bytes[16];
    struct transport t = pair(&other);
    CHECK_INT(t.ops->read(&t, bytes, sizeof bytes), IO_WAIT_READ);
    CHECK_INT(write(other, "abc", 3), 3);
    CHECK_INT(t.ops->read(&t, bytes, sizeof bytes), 3);
    const struct iovec v[] = {{(void *)"one", 3}, {(void *)"two", 3}};
    CHECK_INT(t.ops->writev(&t, v, 2, false), 6);
    CHECK_INT(read(other, bytes, sizeof bytes), 6);
    t.ops->shutdown_write(&t);
    CHECK_INT(read(other, bytes, sizeof bytes), 0);
    CHECK_INT(write(other, "z", 1), 1);
    CHECK_INT(t.ops->read(&t, bytes, sizeof bytes), 1);
    close(other);
    CHECK_INT(t.ops->read(&t, bytes, sizeof bytes), IO_END);
    t.ops->close(&t);
    CHECK_INT(t.fd, -1);
}

static void full_and_broken(void)
{
    int other;
    static char block[1 << 16];
    struct transport t = pair(&other);
    const struct iovec v = {block, sizeof block};
    ssize_t n;
    while ((n = t.ops->writev(&t, &v, 1, false)) > 0) {
    }
    CHECK_INT(n, IO_WAIT_WRITE);
    close(other);
    CHECK_INT(write_text(&t, "x"), IO_FAILED);
    t.ops->close(&t);
}

static void sends_files(void)
{
    int other;
    char path[4096], bytes[16];
    struct transport t = pair(&other);
    snprintf(path, sizeof path, "%s/file", test_dir());
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK_INT(write(fd, "0123456789", 10), 10);
    CHECK_INT(t.ops->sendfile(&t, fd, 4, 3), 3);
    CHECK_INT(read(other, bytes, sizeof bytes), 3);
    CHECK(memcmp(bytes, "456", 3) == 0);
    CHECK_INT(t.ops->sendfile(&t, fd, 10, 5), IO_END);
    close(fd);
    close(other);
    t.ops->close(&t);
}

TESTS({"reads and writes", reads_and_writes}, {"full and broken", full_and_broken},
      {"sends files", sends_files});
