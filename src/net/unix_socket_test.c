#include "net/unix_socket.h"

#include "base/test.h"
#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static struct arena arena;
static struct error why;

static str path_of(const char *name)
{
    return arena_printf(&arena, "%s/%s", test_dir(), name);
}

static int listen_at(str path, enum err want)
{
    int fd = -1;
    why = (struct error){0};
    CHECK_INT(unix_listen(path, 0600, &fd, &arena, &why), want);
    CHECK(want == OK || (fd == -1 && str_contains(why.message, path)));
    return fd;
}

static int connect_to(str path, enum err want)
{
    int fd = -1;
    why = (struct error){0};
    CHECK_INT(unix_connect(path, &fd, &arena, &why), want);
    CHECK(want == OK || (fd == -1 && str_contains(why.message, path)));
    return fd;
}

static mode_t mode_of(str path)
{
    struct stat st;
    CHECK_INT(lstat(path.p, &st), 0);
    return st.st_mode;
}

/* Listens, connects, sends a byte. */
static void works(str path)
{
    int fd = -1;
    struct address peer;
    uint32_t uid = 77777;
    char byte = 0;
    int listener = listen_at(path, OK);
    CHECK_INT(mode_of(path), S_IFSOCK | 0600);
    CHECK(fcntl(listener, F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(listener, F_GETFD) & FD_CLOEXEC);
    CHECK_INT(listener_accept(listener, &fd, &peer), ERR_WOULD_BLOCK);
    int client = connect_to(path, OK);
    CHECK_INT(listener_accept(listener, &fd, &peer), OK);
    CHECK_INT(peer.family, AF_UNSPEC);
    CHECK(unix_peer_uid(fd, &uid));
    CHECK_INT(uid, geteuid());
    CHECK_INT(write(client, "x", 1), 1);
    CHECK_INT(read(fd, &byte, 1), 1);
    CHECK_INT(byte, 'x');
    close(fd);
    close(client);
    close(listener);
}

static void accepts(void)
{
    mode_t before = umask(0);
    works(path_of("accepts"));
    umask(before);
    arena_release(&arena);
}

static void replaces_what_was_left(void)
{
    works(path_of("left"));
    works(path_of("left"));
    arena_release(&arena);
}

static void unlinks(void)
{
    str path = path_of("unlinks");
    int fd = listen_at(path, OK);
    unix_unlink(path);
    close(fd);
    CHECK_INT(access(path.p, F_OK), -1);
    arena_release(&arena);
}

static void takes_long_paths(void)
{
    str dir = path_of("");
    for (int i = 0; i < 4; i++) {
        dir = arena_printf(&arena, "%.*s/a-name-of-fifty-bytes-a-name-of-fifty-bytes-a-name",
                           STR_ARG(dir));
        CHECK_INT(mkdir(dir.p, 0700), 0);
    }
    str path = arena_printf(&arena, "%.*s/socket", STR_ARG(dir));
    works(path);
    works(path);
    str too_long = arena_printf(&arena, "%.*s/%0100d", STR_ARG(dir), 1);
    listen_at(too_long, err_from_errno(ENAMETOOLONG));
    connect_to(too_long, err_from_errno(ENAMETOOLONG));
    arena_release(&arena);
}

static void leaves_others_alone(void)
{
    str busy = path_of("busy"), file = path_of("file"), link = path_of("link");
    int listener = listen_at(busy, OK);
    listen_at(busy, ERR_BUSY);
    close(connect_to(busy, OK));
    close(listener);

    close(open(file.p, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    listen_at(file, ERR_EXISTS);
    CHECK_INT(mode_of(file), S_IFREG | 0600);
    CHECK_INT(symlink(busy.p, link.p), 0);
    listen_at(link, ERR_EXISTS);
    listen_at(path_of("none/socket"), ERR_NOT_FOUND);
    arena_release(&arena);
}

static void nobody_there(void)
{
    connect_to(path_of("nobody"), ERR_NOT_FOUND);
    str left = path_of("gone");
    close(listen_at(left, OK));
    connect_to(left, ERR_NOT_FOUND);
    arena_release(&arena);
}

TESTS({"accepts", accepts}, {"replaces what was left", replaces_what_was_left},
      {"unlinks", unlinks}, {"takes long paths", takes_long_paths},
      {"leaves others alone", leaves_others_alone}, {"nobody there", nobody_there})
