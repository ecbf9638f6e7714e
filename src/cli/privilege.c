#include "cli/privilege.h"

#include "cli/data_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    NUMBER_MAX = INT32_MAX,
    ENTRY_BYTES_MAX = 1 << 20, /* a group lists all its members */
};

static bool parse_number(str s, unsigned *ret)
{
    uint64_t n;
    if (!str_u64(s, &n) || n > NUMBER_MAX)
        return false;
    *ret = (unsigned)n;
    return true;
}

static enum err find_user(str name, struct identity *id, struct arena *a, struct error *why)
{
    ARENA_CLEANUP struct arena tmp = {0};
    char *text = arena_alloc(&tmp, ENTRY_BYTES_MAX);
    struct passwd entry, *pw = NULL;
    bool number = parse_number(name, &id->uid);
    /* Errors are how some lists say that there is no such user. */
    if (number ? getpwuid_r(id->uid, &entry, text, ENTRY_BYTES_MAX, &pw)
               : getpwnam_r(arena_cstr(&tmp, name), &entry, text, ENTRY_BYTES_MAX, &pw))
        pw = NULL;
    if (!pw && !number)
        return error_set(a, why, ERR_CONFIG, "user: this machine has no user %.*s", STR_ARG(name));
    id->user = name;
    id->listed = pw != NULL;
    if (pw) {
        id->uid = pw->pw_uid;
        id->gid = pw->pw_gid;
        id->user = arena_str(a, str_from(pw->pw_name));
    }
    return OK;
}

static enum err find_group(str name, struct identity *id, struct arena *a, struct error *why)
{
    ARENA_CLEANUP struct arena tmp = {0};
    char *text = arena_alloc(&tmp, ENTRY_BYTES_MAX);
    struct group entry, *gr = NULL;
    bool number = parse_number(name, &id->gid);
    if (number ? getgrgid_r(id->gid, &entry, text, ENTRY_BYTES_MAX, &gr)
               : getgrnam_r(arena_cstr(&tmp, name), &entry, text, ENTRY_BYTES_MAX, &gr))
        gr = NULL;
    if (!gr && !number)
        return error_set(a, why, ERR_CONFIG, "user: this machine has no group %.*s", STR_ARG(name));
    if (gr)
        id->gid = gr->gr_gid;
    id->group = gr ? arena_str(a, str_from(gr->gr_name)) : name;
    return OK;
}

enum err identity_find(str text, struct identity *ret, struct arena *a, struct error *why)
{
    struct identity id = {.change = text.n > 0};
    str user, group;
    if (!id.change) {
        *ret = id;
        return OK;
    }
    bool has_group = str_cut(text, ':', &user, &group);
    enum err e = find_user(user, &id, a, why);
    if (!e && !has_group && !id.listed)
        return error_set(a, why, ERR_CONFIG,
                         "user: %.*s is not listed on this machine, so it needs a group: "
                         "user: \"%.*s:GROUP\"",
                         STR_ARG(user), STR_ARG(user));
    if (!e)
        e = find_group(has_group ? group : arena_printf(a, "%u", id.gid), &id, a, why);
    if (e)
        return e;
    if (geteuid() != 0 && (geteuid() != id.uid || getegid() != id.gid))
        return error_set(a, why, ERR_CONFIG,
                         "user is \"%.*s\", but only root can become another user: start it as "
                         "root, or as that user",
                         STR_ARG(text));
    id.change = geteuid() == 0;
    *ret = id;
    return OK;
}

static enum err failed(struct arena *a, struct error *why, const char *what)
{
    return error_set(a, why, ERR_PERMISSION, "cannot %s: %s", what, strerrordesc_np(errno));
}

/* What is made here, the directory and its missing parents, is the identity's. */
static enum err make_data(const struct identity *id, str data, struct arena *a, struct error *why)
{
    char *path = arena_cstr(a, data);
    size_t there = data.n; /* length of the longest part that exists */
    struct stat st;
    while (there > 0 && stat(arena_cstr(a, str_first(data, there)), &st)) {
        size_t slash = str_rfind(str_first(data, there), '/');
        there = slash == there ? 0 : slash;
    }
    enum err e = data_dir_make(data, a, why);
    for (size_t n = there + 1; !e && n <= data.n; n++) {
        if (n < data.n && data.p[n] != '/')
            continue;
        path[n] = '\0';
        if (lchown(path, id->uid, id->gid))
            e = failed(a, why, "give the data directory to its user");
        path[n] = n < data.n ? '/' : '\0';
    }
    return e;
}

static enum err become(const struct identity *id, struct arena *a, struct error *why)
{
    gid_t gid = id->gid;
    if (id->listed ? initgroups(arena_cstr(a, id->user), gid) : setgroups(1, &gid))
        return failed(a, why, "take the groups of the user");
    if (setresgid(gid, gid, gid) || setresuid(id->uid, id->uid, id->uid))
        return failed(a, why, "become the user");
    /* With root's rights still in reach all of this would be show. */
    if (id->uid != 0 && (setuid(0) == 0 || seteuid(0) == 0 || geteuid() != id->uid))
        return error_set(a, why, ERR_PERMISSION, "the rights of root could be taken back");
    return OK;
}

static enum err not_usable(const struct identity *id, str data, str path, struct arena *a,
                           struct error *why)
{
    return error_set(a, why, ERR_PERMISSION,
                     "the user %.*s may not write to %.*s (%s); give it all of the data directory: "
                     "chown -R %.*s:%.*s %.*s",
                     STR_ARG(id->user), STR_ARG(path), strerrordesc_np(errno), STR_ARG(id->user),
                     STR_ARG(id->group), STR_ARG(data));
}

static void close_dir(DIR **d)
{
    if (*d)
        closedir(*d);
}

/* The directory and what stands directly in it: what root once ran with belongs to root there. */
static enum err check_data(const struct identity *id, str data, struct arena *a, struct error *why)
{
    char *path = arena_cstr(a, data);
    __attribute__((cleanup(close_dir))) DIR *d =
        access(path, R_OK | W_OK | X_OK) ? NULL : opendir(path);
    if (!d)
        return not_usable(id, data, data, a, why);
    for (struct dirent *entry; (entry = readdir(d));) {
        struct stat st;
        const char *name = entry->d_name;
        if (strcmp(name, "lost+found") == 0 || strcmp(name, "..") == 0 ||
            fstatat(dirfd(d), name, &st, AT_SYMLINK_NOFOLLOW) || S_ISSOCK(st.st_mode))
            continue;
        if (faccessat(dirfd(d), name, S_ISDIR(st.st_mode) ? R_OK | W_OK | X_OK : R_OK | W_OK, 0))
            return not_usable(id, data, arena_printf(a, "%s/%s", path, name), a, why);
    }
    return OK;
}

enum err privilege_drop(const struct identity *id, const struct conf *conf,
                        const struct sockets *sockets, struct arena *a, struct error *why)
{
    if (!id->change)
        return OK;
    enum err e = make_data(id, conf->data, a, why);
    if (!e)
        e = sockets_give(sockets, id->uid, id->gid, a, why);
    if (!e)
        e = become(id, a, why);
    return e ? e : check_data(id, conf->data, a, why);
}

enum err privilege_harden(bool core_dumps, struct arena *a, struct error *why)
{
    const struct rlimit none = {0, 0};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return failed(a, why, "give up further privileges");
    if (prctl(PR_SET_DUMPABLE, core_dumps, 0, 0, 0) ||
        (!core_dumps && setrlimit(RLIMIT_CORE, &none)))
        return failed(a, why, "turn off core dumps");
    return OK;
}
