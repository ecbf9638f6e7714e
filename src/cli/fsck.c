/* berth fsck: the consistency checks of registry/check.h on a store no server uses. */
#include "base/clock.h"
#include "cli/data_dir.h"
#include "cli/fsck_report.h"
#include "cli/options.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FSCK_UNCHECKED = 3, PROGRESS_MS = 200 };

struct fsck {
    struct arena arena;
    struct conf conf;
    struct fsck_report report;
    struct check check;
    int lock_fd;
    bool shows_progress, on_line; /* a line of progress is on the terminal */
    uint64_t shown_ms;
};

static void clear_line(struct fsck *f)
{
    if (f->on_line)
        fputs("\r\033[K", stderr);
    f->on_line = false;
}

static void on_finding(void *arg, const struct finding *finding)
{
    struct fsck *f = arg;
    clear_line(f);
    fsck_report_finding(&f->report, finding);
}

static void on_progress(void *arg, const char *phase, uint64_t done, uint64_t total)
{
    struct fsck *f = arg;
    uint64_t now = clock_mono_ms();
    if (!f->shows_progress || now - f->shown_ms < PROGRESS_MS)
        return;
    clear_line(f);
    f->shown_ms = now;
    f->on_line = true;
    if (total)
        fprintf(stderr, "checking %s: %u %%", phase,
                (unsigned)(100.0 * (double)done / (double)total));
    else
        fprintf(stderr, "checking %s", phase);
    fflush(stderr);
}

/* Makes nothing: a directory without a database is no registry, whatever else is wrong with it. */
static enum err find_store(struct fsck *f, struct error *why)
{
    struct stat st;
    str path = arena_printf(&f->arena, "%.*s/berth.db", STR_ARG(f->conf.data));
    if (stat(path.p, &st) == 0)
        return OK;
    if (errno == ENOENT || errno == ENOTDIR)
        return error_set(&f->arena, why, ERR_NOT_FOUND,
                         "there is no registry in %.*s; name its directory with --data",
                         STR_ARG(f->conf.data));
    return error_set(&f->arena, why, err_from_errno(errno), "cannot read %.*s: %s", STR_ARG(path),
                     strerrordesc_np(errno));
}

static enum err open_all(struct fsck *f, struct error *why)
{
    str dir = f->conf.data;
    enum err e = find_store(f, why);
    if (!e)
        e = data_dir_take(dir, &f->arena, &f->lock_fd, why);
    if (e == ERR_BUSY) {
        *why = (struct error){0}; /* in place of the general text */
        return error_set(&f->arena, why, e,
                         "a server or another command is using %.*s: stop it first, fsck needs the "
                         "registry for itself",
                         STR_ARG(dir));
    }
    if (!e)
        e = data_dir_check_whole(dir, &f->arena, why);
    if (!e)
        e = db_open(&f->check.db, dir, 1, &f->arena, why);
    return e ? e : store_open(&f->check.store, dir, &f->arena, why);
}

static void close_all(struct fsck *f)
{
    store_close(f->check.store);
    if (f->check.db)
        db_close(f->check.db);
    if (f->lock_fd >= 0)
        close(f->lock_fd);
}

/* A database that cannot even be opened for its damage is a finding like any other. */
static bool report_broken(struct fsck *f, enum err e, const struct error *why)
{
    if (e != ERR_DB_CORRUPT || f->check.db)
        return false;
    struct finding finding = {
        .kind = FINDING_DATABASE, .where = STR("berth.db"), .detail = why->message};
    f->check.errors++;
    on_finding(f, &finding);
    return true;
}

static int run(struct fsck *f)
{
    struct error why = {0};
    fsck_report_begin(&f->report);
    enum err e = open_all(f, &why);
    if (!e)
        e = check_run(&f->check, &f->arena, &why);
    clear_line(f);
    if (e && report_broken(f, e, &why))
        e = OK;
    fsck_report_end(&f->report, &f->check, !e);
    close_all(f);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        cli_error("cannot write to standard output");
        return FSCK_UNCHECKED;
    }
    if (e) {
        cli_error("%.*s", STR_ARG(why.message.n ? why.message : str_from(err_text(e))));
        return FSCK_UNCHECKED;
    }
    return f->check.errors ? CLI_FAILED : CLI_OK;
}

int cmd_fsck(int argc, char **argv)
{
    struct fsck f = {.lock_fd = -1};
    struct flags flags;
    int code;
    if (cli_parse("fsck", fsck_flags, argc, argv, &f.arena, &flags, &code) &&
        cli_load("fsck", &flags, 0, &f.arena, &f.conf, &code)) {
        f.shows_progress = isatty(STDERR_FILENO);
        f.report = (struct fsck_report){
            .out = stdout,
            .json = flags_value(&flags, "json").p,
            .repair = flags_value(&flags, "repair").p,
        };
        f.check = (struct check){
            .quick = flags_value(&flags, "quick").p,
            .repair = f.report.repair,
            .sparse = f.conf.manifests_sparse.items,
            .sparse_n = f.conf.manifests_sparse.n,
            .report = on_finding,
            .progress = on_progress,
            .arg = &f,
        };
        code = run(&f);
    }
    arena_release(&f.arena);
    return code;
}
