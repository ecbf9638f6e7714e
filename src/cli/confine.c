#include "cli/confine.h"

#include "conf/option.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the kernel's header of Debian 12 does not have yet. */
#define FS_TRUNCATE  (1ull << 14) /* since ABI 3 */
#define FS_IOCTL_DEV (1ull << 15) /* since 5 */
#define NET_BIND_TCP (1ull << 0)  /* since 4 */
#define SCOPES       3ull         /* abstract unix sockets and signals, since 6 */

enum {
    ABI_LINKS = 2 /* links and renames between directories */,
    ABI_TRUNCATE = 3,
    ABI_NET = 4,
    ABI_IOCTL = 5,
    ABI_SCOPES = 6
};

struct ruleset_attr {
    uint64_t fs, net, scoped;
};

#define READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITE                                                                                     \
    (READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                       \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | \
     LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REFER | FS_TRUNCATE)
#define SOCKET (LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE)
/* Of these, what makes sense for something that is no directory. */
#define OF_FILES (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE)

/* What libraries read of the system: names of hosts and users, roots of certificates, time zones,
 * modules that are loaded late, the number of cores, what this process takes. */
static const char *const system_reads[] = {
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/passwd",
    "/etc/group",
    "/etc/localtime",
    "/etc/ld.so.cache",
    "/etc/ssl",
    "/etc/pki",
    "/run/systemd/resolve",
    "/usr/share/zoneinfo",
    "/usr/share/ca-certificates",
    "/usr/lib",
    "/usr/lib64",
    "/lib",
    "/lib64",
    "/dev/urandom",
    "/dev/null",
    "/sys/devices/system/cpu",
    "/proc/self",
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    "/proc",
#endif
};

struct rules {
    int fd;
    uint64_t handled;
    struct arena *a;
    str *writes, *reads;
    size_t write_n, read_n;
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define FD_CLEANUP __attribute__((cleanup(close_fd)))

/* A path that is not there needs no rule. */
static bool allow(const struct rules *r, const char *path, uint64_t access)
{
    struct stat st;
    FD_CLEANUP int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st))
        return true;
    if (!S_ISDIR(st.st_mode))
        access &= OF_FILES;
    const struct landlock_path_beneath_attr rule = {.allowed_access = access & r->handled,
                                                    .parent_fd = fd};
    return rule.allowed_access == 0 ||
           syscall(SYS_landlock_add_rule, r->fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
}

static bool is_below(str path, str dir)
{
    return str_starts(path, dir) &&
           (path.n == dir.n || path.p[dir.n] == '/' || str_ends(dir, STR("/")));
}

/* The directory a path stands in. */
static str around(str path, struct arena *a)
{
    size_t slash = str_rfind(path, '/');
    if (slash == path.n)
        return STR(".");
    return arena_str(a, slash ? str_first(path, slash) : STR("/"));
}

static bool allow_around(struct rules *r, str path, uint64_t access)
{
    return allow(r, arena_cstr(r->a, around(path, r->a)), access);
}

static bool allow_dir(struct rules *r, str dir)
{
    r->reads[r->read_n++] = dir;
    return allow(r, arena_cstr(r->a, dir), READ);
}

/* The directory the file stands in, for the one that replaces it, and the one that links lead to:
 * certbot keeps links in one directory and the files in another. */
static bool allow_file(struct rules *r, str path)
{
    char file[PATH_MAX], dir[PATH_MAX];
    str stands = around(path, r->a);
    if (!allow_dir(r, stands))
        return false;
    if (!realpath(arena_cstr(r->a, path), file) || !realpath(arena_cstr(r->a, stands), dir) ||
        is_below(str_from(file), str_from(dir)))
        return true;
    return allow_dir(r, around(str_from(file), r->a));
}

/* An option of type PATH, and the file that the value of a secret was read from. */
static bool allow_option(struct rules *r, const struct conf_option *o, const struct conf *conf)
{
    str path = o->type == CONF_PATH ? conf_option_text(o, conf, r->a) : (str){0};
    str secret = conf->origins[o - conf_options].file;
    if (secret.n && !allow_file(r, secret))
        return false;
    if (path.n == 0)
        return true;
    if (o->flags & CONF_WRITE) {
        r->writes[r->write_n++] = path;
        return allow(r, arena_cstr(r->a, path), WRITE);
    }
    if (o->flags & CONF_SOCKET) /* a relative one begins in the data directory, a word is none */
        return !str_starts(path, STR("/")) || allow_around(r, path, SOCKET);
    return allow_file(r, path);
}

static bool allow_all(struct rules *r, const struct conf *conf, str config_file,
                      const struct sockets *sockets)
{
    for (const struct conf_option *o = conf_options; o < conf_options + CONF_OPTIONS_N; o++)
        if (!allow_option(r, o, conf))
            return false;
    if (config_file.n && !allow_file(r, config_file))
        return false;
    for (size_t i = 0; i < sockets->n; i++)
        if (sockets->list[i].path.n && !sockets->list[i].inherited &&
            !allow_around(r, sockets->list[i].path, LANDLOCK_ACCESS_FS_REMOVE_FILE))
            return false;
    for (size_t i = 0; i < sizeof system_reads / sizeof *system_reads; i++)
        if (!allow(r, system_reads[i], READ))
            return false;
    return allow(r, "/dev/null", READ | LANDLOCK_ACCESS_FS_WRITE_FILE);
}

/* Everything there is to forbid as of that ABI. */
static struct ruleset_attr handled(long abi)
{
    struct ruleset_attr attr = {.fs = LANDLOCK_ACCESS_FS_EXECUTE | WRITE |
                                      LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_FIFO |
                                      LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM};
    if (abi < ABI_TRUNCATE)
        attr.fs &= ~FS_TRUNCATE;
    if (abi >= ABI_IOCTL)
        attr.fs |= FS_IOCTL_DEV;
    if (abi >= ABI_NET)
        attr.net = NET_BIND_TCP;
    if (abi >= ABI_SCOPES)
        attr.scoped = SCOPES;
    return attr;
}

/* NULL, or what failed. */
static const char *restrict_self(struct confinement *c, const struct conf *conf, str config_file,
                                 const struct sockets *sockets, struct arena *a)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 0)
        return errno == EOPNOTSUPP ? "Landlock is turned off in this kernel"
                                   : "this kernel has no Landlock";
    if (abi < ABI_LINKS)
        return "the Landlock of this kernel is too old (Linux 5.19 or later is needed)";
    struct ruleset_attr attr = handled(abi);
    size_t size = abi >= ABI_SCOPES ? sizeof attr
                  : abi >= ABI_NET  ? offsetof(struct ruleset_attr, scoped)
                                    : offsetof(struct ruleset_attr, net);
    FD_CLEANUP int fd = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    struct rules r = {.fd = fd,
                      .handled = attr.fs,
                      .a = a,
                      .writes = ARENA_ARRAY(a, CONF_OPTIONS_N, str),
                      .reads = ARENA_ARRAY(a, 2 * (2 * CONF_OPTIONS_N + 1), str)};
    if (fd < 0)
        return "Landlock takes no ruleset";
    if (!allow_all(&r, conf, config_file, sockets))
        return "Landlock takes no rule";
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_landlock_restrict_self, fd, 0))
        return "Landlock refuses";
    *c = (struct confinement){.abi = (unsigned)abi,
                              .writes = {r.writes, r.write_n},
                              .reads = {r.reads, r.read_n},
                              .ports = attr.net != 0};
    return NULL;
}

enum err confine(struct confinement *ret, const struct conf *conf, str config_file,
                 const struct sockets *sockets, struct arena *a, struct error *why)
{
    *ret = (struct confinement){.reason = STR("confine is off")};
    if (conf->confine == CONFINE_OFF)
        return OK;
    const char *reason = restrict_self(ret, conf, config_file, sockets, a);
    if (!reason)
        return OK;
    if (conf->confine == CONFINE_REQUIRED)
        return error_set(a, why, ERR_CONFIG, "confine is \"required\", but %s", reason);
    ret->reason = str_from(reason);
    return OK;
}

bool confinement_covers(const struct confinement *c, str path, struct arena *tmp)
{
    char file[PATH_MAX], dir[PATH_MAX];
    const struct conf_list *const lists[] = {&c->reads, &c->writes};
    if (!c->abi || !realpath(arena_cstr(tmp, path), file))
        return true; /* whatever is wrong, it is not this */
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < lists[k]->n; i++)
            if (realpath(arena_cstr(tmp, lists[k]->items[i]), dir) &&
                is_below(str_from(file), str_from(dir)))
                return true;
    for (size_t i = 0; i < sizeof system_reads / sizeof *system_reads; i++)
        if (is_below(str_from(file), str_from(system_reads[i])))
            return true;
    return false;
}
