#include "base/clock.h"
#include "base/test.h"
#include "blob/store_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* System calls that count themselves and fail on request. */
enum call { PWRITE, RANGE, ALLOCATE, TRUNCATE, DATASYNC, SYNC, LINK, CALL_COUNT };
static unsigned calls[CALL_COUNT];
static int errors[CALL_COUNT]; /* errno to fail with, once; 0: works */
static size_t write_bytes_max; /* longer writes are cut short; 0: not */
static size_t longest_write;
static uint64_t allocated_end;

static bool fails(enum call c)
{
    calls[c]++;
    errno = errors[c];
    errors[c] = 0;
    return errno != 0;
}

static ssize_t faulty_pwrite(int fd, const void *p, size_t n, off_t offset)
{
    if (n > longest_write)
        longest_write = n;
    if (fails(PWRITE))
        return -1;
    return pwrite(fd, p, write_bytes_max && n > write_bytes_max ? write_bytes_max : n, offset);
}
static int faulty_range(int fd, off_t offset, off_t n, unsigned flags)
{
    return fails(RANGE) ? -1 : sync_file_range(fd, offset, n, flags);
}
static int faulty_allocate(int fd, off_t offset, off_t n)
{
    if (fails(ALLOCATE))
        return -1;
    allocated_end = (uint64_t)(offset + n);
    return fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, n);
}
static int faulty_truncate(int fd, off_t n)
{
    return fails(TRUNCATE) ? -1 : ftruncate(fd, n);
}
static int faulty_datasync(int fd)
{
    return fails(DATASYNC) ? -1 : fdatasync(fd);
}
static int faulty_sync(int fd)
{
    return fails(SYNC) ? -1 : fsync(fd);
}
static int faulty_link(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    return fails(LINK) ? -1 : linkat(from_dir, from, to_dir, to, flags);
}

static const struct store_sys faulty = {
    .pwrite = faulty_pwrite,
    .sync_file_range = faulty_range,
    .allocate = faulty_allocate,
    .ftruncate = faulty_truncate,
    .fdatasync = faulty_datasync,
    .fsync = faulty_sync,
    .linkat = faulty_link,
    .renameat = renameat,
};

static void calls_reset(void)
{
    memset(calls, 0, sizeof calls);
    memset(errors, 0, sizeof errors);
    write_bytes_max = longest_write = 0;
    allocated_end = 0;
}

static struct store *open_store(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct error why = {0};
    struct store *s;
    calls_reset();
    if (store_open_with(&s, arena_printf(&a, "%s/store", test_dir()), &faulty, &a, &why)) {
        printf("Bail out! %.*s\n", STR_ARG(why.message));
        exit(99);
    }
    calls_reset();
    return s;
}

static str fresh_uuid(void)
{
    static char text[UUID_LEN];
    uint8_t id[16];
    uuid_new(id);
    return uuid_format(id, text);
}

static bool upload_exists(str uuid)
{
    char path[512];
    struct stat st;
    snprintf(path, sizeof path, "%s/store/uploads/%.*s", test_dir(), STR_ARG(uuid));
    return stat(path, &st) == 0;
}

/* What the file takes from the disk. */
static uint64_t upload_room(str uuid)
{
    char path[512];
    struct stat st;
    snprintf(path, sizeof path, "%s/store/uploads/%.*s", test_dir(), STR_ARG(uuid));
    return stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : UINT64_MAX;
}

static unsigned blob_files(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < SHARD_COUNT; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/store/blobs/%02x", test_dir(), i);
        DIR *d = opendir(path);
        for (struct dirent *e; d && (e = readdir(d));)
            n += e->d_name[0] != '.';
        if (d)
            closedir(d);
    }
    return n;
}

static void check_blob(struct store *s, str key, str want)
{
    char got[64];
    struct file *f = NULL;
    CHECK_INT(store_blob_open(s, key, want.n, &f), OK);
    if (!f)
        return;
    CHECK_INT(f->size_bytes, want.n);
    CHECK_INT(pread(f->fd, got, sizeof got, 0), want.n);
    CHECK(memcmp(got, want.p, want.n) == 0);
    file_unref(f);
}

static void creates_the_tree(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct error why = {0};
    struct store *s;
    struct stat st;
    str dir = arena_printf(&a, "%s/new//deep/", test_dir());
    calls_reset();
    CHECK_INT(store_open_with(&s, dir, &faulty, &a, &why), OK);
    store_close(s);
    CHECK_INT(calls[SYNC], 4); /* the parents of new and deep; deep; blobs */
    for (const char *const *p =
             (const char *const[]){"", "uploads", "blobs", "blobs/00", "blobs/ff", NULL};
         *p; p++) {
        CHECK_INT(stat(arena_printf(&a, "%s%s", dir.p, *p).p, &st), 0);
        CHECK_INT(st.st_mode & 0777, 0700);
    }
    CHECK_INT(store_open_with(&s, dir, &faulty, &a, &why), OK);
    store_close(s);
    store_close(NULL);
}

static void refuses_to_open(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct error why = {0};
    struct store *s;
    int fd = creat(arena_printf(&a, "%s/file", test_dir()).p, 0600);
    close(fd);
    CHECK_INT(store_open(&s, arena_printf(&a, "%s/file", test_dir()), &a, &why), ERR_IO);
    CHECK(str_contains(why.message, STR("\"file\": Not a directory")));

    why = (struct error){0};
    calls_reset();
    errors[SYNC] = EIO;
    str dir = arena_printf(&a, "%s/unsynced", test_dir());
    CHECK_INT(store_open_with(&s, dir, &faulty, &a, &why), ERR_IO);
    CHECK(str_contains(why.message, STR("cannot sync the directory of \"unsynced\"")));
}

static void round_trip(void)
{
    struct store *s = open_store();
    struct store_upload *u;
    char key[STORE_KEY_LEN], other[STORE_KEY_LEN];
    str uuid = fresh_uuid();
    CHECK_INT(store_upload_open(s, uuid, 0, &u), OK);
    CHECK(upload_exists(uuid));
    CHECK_INT(store_upload_write(u, 0, STR("hello ")), OK);
    CHECK_INT(store_upload_write(u, 6, STR("world")), OK);
    CHECK_INT(store_upload_size(u), 11);
    CHECK_INT(store_upload_publish(u, 11, key), OK);
    CHECK(upload_exists(uuid)); /* until the row that names the key is committed */
    store_upload_close(u);
    CHECK_INT(store_upload_discard(s, uuid), OK);
    CHECK(!upload_exists(uuid));
    check_blob(s, str_make(key, sizeof key), STR("hello world"));
    CHECK_INT(blob_files(), 1);

    CHECK_INT(store_upload_open(s, uuid, 0, &u), OK);
    CHECK_INT(store_upload_publish(u, 0, other), OK);
    store_upload_close(u);
    CHECK_INT(store_upload_discard(s, uuid), OK);
    CHECK(memcmp(key, other, sizeof key) != 0);
    check_blob(s, str_make(other, sizeof other), STR(""));
    CHECK_INT(blob_files(), 2);

    struct file *f = NULL;
    char loaded[16];
    CHECK_INT(store_blob_read(s, str_make(key, sizeof key), 11, loaded), OK);
    CHECK_STR(str_make(loaded, 11), "hello world");
    CHECK_INT(store_blob_read(s, str_make(key, sizeof key), 10, loaded), ERR_SIZE_INVALID);
    CHECK_INT(store_blob_read(s, str_make(key, sizeof key), 12, loaded), ERR_SIZE_INVALID);
    CHECK_INT(store_blob_read(s, str_make(other, sizeof other), 0, loaded), OK);
    CHECK_INT(store_blob_unlink(s, str_make(key, sizeof key)), OK);
    CHECK_INT(store_blob_read(s, str_make(key, sizeof key), 11, loaded), ERR_NOT_FOUND);
    CHECK_INT(store_blob_open(s, str_make(key, sizeof key), 11, &f), ERR_NOT_FOUND);
    CHECK_INT(store_blob_unlink(s, str_make(key, sizeof key)), OK);
    CHECK_INT(store_blob_open(s, str_make(other, sizeof other), 1, &f), ERR_SIZE_INVALID);
    CHECK_INT(store_blob_unlink(s, str_make(other, sizeof other)), OK);
    CHECK_INT(blob_files(), 0);
    store_close(s);
}

static void small_blob_costs_no_more(void)
{
    struct store *s = open_store();
    struct store_upload *u;
    char key[STORE_KEY_LEN];
    CHECK_INT(store_upload_open(s, fresh_uuid(), 0, &u), OK);
    CHECK_INT(store_upload_write(u, 0, STR("{}")), OK);
    CHECK_INT(store_upload_publish(u, 2, key), OK);
    store_upload_close(u);
    CHECK_INT(calls[PWRITE], 1);
    CHECK_INT(calls[DATASYNC], 1);
    CHECK_INT(calls[LINK], 1);
    CHECK_INT(calls[SYNC], 1);
    CHECK_INT(calls[RANGE] + calls[TRUNCATE], 0);
    CHECK_INT(store_blob_unlink(s, str_make(key, sizeof key)), OK);
    store_close(s);
}

/* Stores a blob and removes it; returns the directory it was in. */
static int store_one(struct store *s)
{
    struct store_upload *u;
    char key[STORE_KEY_LEN], name[STORE_KEY_LEN + 1];
    unsigned shard = SHARD_COUNT;
    CHECK_INT(store_upload_open(s, fresh_uuid(), 0, &u), OK);
    CHECK_INT(store_upload_publish(u, 0, key), OK);
    store_upload_close(u);
    CHECK(store_key_name(str_make(key, sizeof key), name, &shard));
    CHECK_INT(store_blob_unlink(s, str_make(key, sizeof key)), OK);
    return (int)shard;
}

/* So that those who publish at once share a directory's fsync, and yet no directory fills alone. */
static void neighbours_share_a_directory(void)
{
    struct store *s = open_store();
    atomic_store(&s->published, 0);
    int first = store_one(s);
    CHECK_INT(store_one(s), first);
    atomic_store(&s->published, 255);
    CHECK_INT(store_one(s), first);
    CHECK_INT(store_one(s), (first + 1) % SHARD_COUNT);
    atomic_store(&s->published, 256 * 256);
    CHECK_INT(store_one(s), first);
    store_close(s);
}

static void resumes_at_the_acknowledged_offset(void)
{
    struct store *s = open_store();
    struct store_upload *u;
    char key[STORE_KEY_LEN];
    str uuid = fresh_uuid();
    CHECK_INT(store_upload_open(s, uuid, 0, &u), OK);
    CHECK_INT(store_upload_write(u, 0, STR("kept")), OK);
    CHECK_INT(store_upload_sync(u, 4), OK);
    CHECK_INT(calls[DATASYNC], 1);
    CHECK_INT(calls[SYNC], 1);
    CHECK_INT(store_upload_write(u, 4, STR(" lost")), OK);
    store_upload_close(u);

    CHECK_INT(store_upload_open(s, uuid, 4, &u), OK);
    CHECK_INT(store_upload_size(u), 4);
    CHECK_INT(store_upload_write(u, 4, STR("!")), OK);
    CHECK_INT(store_upload_sync(u, 5), OK);
    CHECK_INT(calls[SYNC], 1); /* the entry is durable already */
    store_upload_close(u);

    /* Nothing new: nothing to sync but the new name. */
    calls_reset();
    CHECK_INT(store_upload_open(s, uuid, 5, &u), OK);
    CHECK_INT(store_upload_publish(u, 5, key), OK);
    store_upload_close(u);
    CHECK_INT(calls[DATASYNC], 0);
    CHECK_INT(calls[SYNC], 1);
    check_blob(s, str_make(key, sizeof key), STR("kept!"));
    CHECK_INT(store_blob_unlink(s, str_make(key, sizeof key)), OK);
    store_close(s);
}

static void syncs_what_changed(void)
{
    struct store *s = open_store();
    struct store_upload *u;
    char key[STORE_KEY_LEN];
    str uuid = fresh_uuid();
    CHECK_INT(store_upload_open(s, uuid, 0, &u), OK);
    CHECK_INT(store_upload_write(u, 0, STR("abcdef")), OK);
    CHECK_INT(store_upload_sync(u, 6), OK);
    CHECK_INT(store_upload_sync(u, 6), OK);
    CHECK_INT(calls[DATASYNC], 1);
    store_upload_close(u);

    /* A cut is a change: the old size would come back with the next power cut. */
    CHECK_INT(store_upload_open(s, uuid, 3, &u), OK);
    CHECK_INT(store_upload_publish(u, 3, key), OK);
    store_upload_close(u);
    CHECK_INT(calls[DATASYNC], 2);
    check_blob(s, str_make(key, sizeof key), STR("abc"));
    CHECK_INT(store_blob_unlink(s, str_make(key, sizeof key)), OK);
    store_close(s);
}

static void misses_what_is_not_there(void)
{
    struct store *s = open_store();
    struct store_upload *u = NULL;
    struct file *f = NULL;
    str uuid = fresh_uuid();
    CHECK_INT(store_upload_open(s, uuid, 1, &u), ERR_NOT_FOUND);
    CHECK(!upload_exists(uuid));
    CHECK_INT(store_upload_open(s, uuid, 0, &u), OK);
    CHECK_INT(store_upload_write(u, 0, STR("abc")), OK);
    CHECK_INT(store_upload_write(u, 4, STR("d")), ERR_SIZE_INVALID);
    CHECK_INT(store_upload_sync(u, 4), ERR_SIZE_INVALID);
    store_upload_close(u);
    CHECK_INT(store_upload_open(s, uuid, 4, &u), ERR_NOT_FOUND);
    CHECK_INT(store_upload_discard(s, uuid), OK);
    CHECK(!upload_exists(uuid));
    CHECK_INT(store_upload_discard(s, uuid), OK);

    CHECK_INT(store_upload_open(s, STR("../blobs"), 0, &u), ERR_NOT_FOUND);
    CHECK_INT(store_upload_open(s, STR(""), 0, &u), ERR_NOT_FOUND);
    CHECK_INT(store_upload_discard(s, STR("..")), ERR_NOT_FOUND);
    CHECK_INT(store_blob_open(s, STR("../../store/../../../etc/passwd"), 1, &f), ERR_NOT_FOUND);
    CHECK_INT(store_blob_open(s, STR("0123456789ABCDEF0123456789ABCDEF"), 1, &f), ERR_NOT_FOUND);
    CHECK_INT(store_blob_unlink(s, STR("")), ERR_NOT_FOUND);
    store_close(s);
}

static void reads_back(void)
{
    struct store *s = open_store();
    struct store_upload *u;
    char got[8];
    size_t n = 0;
    CHECK_INT(store_upload_open(s, fresh_uuid(), 0, &u), OK);
    write_bytes_max = 3;
    errors[PWRITE] = EINTR;
    CHECK_INT(store_upload_write(u, 0, STR("0123456789")), OK);
    CHECK_INT(calls[PWRITE], 5);
    CHECK_INT(store_upload_read(u, 2, got, 8, &n), OK);
    CHECK_STR(str_make(got, n), "23456789");
    CHECK_INT(store_upload_read(u, 7, got, 8, &n), OK);
    CHECK_STR(str_make(got, n), "789");
    CHECK_INT(store_upload_read(u, 10, got, 8, &n), OK);
    CHECK_INT(n, 0);
    store_upload_close(u);
    store_upload_close(NULL);
    store_close(s);
}

static void survives_a_full_disk(void)
{
    struct store *s = open_store();
    struct store_upload *u;
    char key[STORE_KEY_LEN];
    CHECK_INT(store_upload_open(s, fresh_uuid(), 0, &u), OK);
    CHECK_INT(store_upload_write(u, 0, STR("abc")), OK);
    errors[PWRITE] = ENOSPC;
    CHECK_INT(store_upload_write(u, 3, STR("def")), ERR_NO_SPACE);
    errors[LINK] = ENOSPC;
    CHECK_INT(store_upload_publish(u, 3, key), ERR_NO_SPACE);
    errors[TRUNCATE] = EIO;
    CHECK_INT(store_upload_sync(u, 2), ERR_IO);
    /* What was written before is untouched, and the upload goes on. */
    CHECK_INT(store_upload_write(u, 3, STR("DEF")), OK);
    CHECK_INT(store_upload_publish(u, 6, key), OK);
    store_upload_close(u);
    check_blob(s, str_make(key, sizeof key), STR("abcDEF"));
    CHECK_INT(store_blob_unlink(s, str_make(key, sizeof key)), OK);
    store_close(s);
}

/* Whatever comes after, the upload answers `e`, and no later open resumes it. */
static void check_poisoned(struct store *s, struct store_upload *u, str uuid, enum err e)
{
    char key[STORE_KEY_LEN], byte;
    size_t n;
    CHECK_INT(store_upload_write(u, 0, STR("x")), e);
    CHECK_INT(store_upload_read(u, 0, &byte, 1, &n), e);
    CHECK_INT(store_upload_sync(u, 1), e);
    CHECK_INT(store_upload_publish(u, 1, key), e);
    store_upload_close(u);
    CHECK(!upload_exists(uuid));
    CHECK_INT(store_upload_open(s, uuid, 1, &u), ERR_NOT_FOUND);
    CHECK_INT(blob_files(), 0);
}

static void failed_sync_poisons(void)
{
    struct store *s = open_store();
    struct store_upload *u;
    char key[STORE_KEY_LEN];
    str uuid = fresh_uuid();
    CHECK_INT(store_upload_open(s, uuid, 0, &u), OK);
    CHECK_INT(store_upload_write(u, 0, STR("abc")), OK);
    errors[DATASYNC] = EIO;
    CHECK_INT(store_upload_sync(u, 3), ERR_IO);
    check_poisoned(s, u, uuid, ERR_IO);

    CHECK_INT(store_upload_open(s, uuid, 0, &u), OK);
    CHECK_INT(store_upload_write(u, 0, STR("abc")), OK);
    errors[DATASYNC] = ENOSPC;
    CHECK_INT(store_upload_publish(u, 3, key), ERR_NO_SPACE);
    check_poisoned(s, u, uuid, ERR_NO_SPACE);

    CHECK_INT(store_upload_open(s, uuid, 0, &u), OK);
    CHECK_INT(store_upload_write(u, 0, STR("abc")), OK);
    errors[SYNC] = EIO; /* of uploads/ */
    CHECK_INT(store_upload_sync(u, 3), ERR_IO);
    check_poisoned(s, u, uuid, ERR_IO);

    CHECK_INT(store_upload_open(s, uuid, 0, &u), OK);
    CHECK_INT(store_upload_write(u, 0, STR("abc")), OK);
    errors[SYNC] = EIO; /* of blobs/xx, after the link */
    CHECK_INT(store_upload_publish(u, 3, key), ERR_IO);
    check_poisoned(s, u, uuid, ERR_IO);
    store_close(s);
}

static void failed_directory_fails_all_in_flight(void)
{
    struct store *s = open_store();
    struct store_upload *first, *second, *third;
    char uuid_text[UUID_LEN];
    memcpy(uuid_text, fresh_uuid().p, UUID_LEN);
    str uuid = str_make(uuid_text, UUID_LEN);
    CHECK_INT(store_upload_open(s, uuid, 0, &first), OK);
    CHECK_INT(store_upload_open(s, fresh_uuid(), 0, &second), OK);
    errors[SYNC] = EIO;
    CHECK_INT(store_upload_sync(first, 0), ERR_IO);
    CHECK_INT(store_upload_open(s, fresh_uuid(), 0, &third), OK);
    /* Its entry may have been in what the first one lost. */
    CHECK_INT(store_upload_sync(second, 0), ERR_IO);
    CHECK_INT(store_upload_sync(third, 0), OK);
    store_upload_close(first);
    store_upload_close(second);
    store_upload_close(third);
    store_close(s);
}

/* Writes 40 MiB, expecting `want` from every write until the first error. */
static enum err write_long(struct store_upload *u)
{
    static char bytes[1 << 20];
    for (uint64_t i = 0; i < 40; i++) {
        enum err e = store_upload_write(u, i << 20, str_make(bytes, sizeof bytes));
        if (e)
            return e;
    }
    return OK;
}

static void allocates_ahead(void)
{
    enum { MIB = 1 << 20 };
    struct store *s = open_store();
    struct store_upload *u;
    str uuid = fresh_uuid();
    CHECK_INT(store_upload_open(s, uuid, 0, &u), OK);
    CHECK_INT(write_long(u), OK);
    CHECK_INT(calls[ALLOCATE], 0); /* nobody knows how long it will be */
    store_upload_close(u);

    CHECK_INT(store_upload_open(s, uuid, 0, &u), OK);
    store_upload_expect(u, 40 * MIB);
    CHECK_INT(write_long(u), OK);
    CHECK_INT(calls[ALLOCATE], 1);
    CHECK_INT(allocated_end, 40 * MIB);
    CHECK_INT(store_upload_sync(u, 40 * MIB), OK);
    CHECK_INT(calls[TRUNCATE], 0);
    store_upload_close(u);

    /* It ends early: the rest goes back when it is synced, */
    CHECK_INT(store_upload_open(s, uuid, 0, &u), OK);
    store_upload_expect(u, 60 * MIB);
    CHECK_INT(write_long(u), OK);
    CHECK_INT(allocated_end, 60 * MIB);
    CHECK(upload_room(uuid) >= 60 * MIB);
    CHECK_INT(store_upload_sync(u, 40 * MIB), OK);
    CHECK(upload_room(uuid) <= 41 * MIB);
    store_upload_close(u);

    /* or when a later process goes on with it. */
    CHECK_INT(store_upload_open(s, uuid, 0, &u), OK);
    store_upload_expect(u, 60 * MIB);
    CHECK_INT(write_long(u), OK);
    store_upload_close(u);
    CHECK_INT(store_upload_open(s, uuid, 40 * MIB, &u), OK);
    CHECK(upload_room(uuid) <= 41 * MIB);
    store_upload_close(u);

    /* With little left above the reserve nothing is taken ahead. */
    calls_reset();
    store_set_reserve(s, store_space(s).free_bytes - 700 * (uint64_t)MIB);
    CHECK_INT(store_upload_open(s, uuid, 0, &u), OK);
    store_upload_expect(u, 60 * MIB);
    CHECK_INT(write_long(u), OK);
    CHECK_INT(calls[ALLOCATE], 0);
    store_upload_close(u);
    store_set_reserve(s, 0);

    /* A file system that cannot. */
    calls_reset();
    CHECK_INT(store_upload_open(s, uuid, 0, &u), OK);
    store_upload_expect(u, 60 * MIB);
    errors[ALLOCATE] = EOPNOTSUPP;
    CHECK_INT(write_long(u), OK);
    CHECK_INT(calls[ALLOCATE], 1);
    CHECK_INT(store_upload_sync(u, 40 * MIB), OK);
    CHECK_INT(calls[TRUNCATE], 0);
    store_upload_close(u);
    store_close(s);
}

static void writes_in_pieces(void)
{
    enum { LENGTH = 3 * WRITE_PIECE_BYTES + 5 };
    struct store *s = open_store();
    struct store_upload *u;
    char *bytes = malloc(LENGTH), *back = malloc(LENGTH);
    size_t got = 0;
    for (size_t i = 0; i < LENGTH; i++)
        bytes[i] = (char)(i / 251);
    CHECK_INT(store_upload_open(s, fresh_uuid(), 0, &u), OK);
    CHECK_INT(store_upload_write(u, 0, str_make(bytes, LENGTH)), OK);
    CHECK_INT(calls[PWRITE], 4);
    CHECK_INT(longest_write, WRITE_PIECE_BYTES);
    CHECK_INT(store_upload_read(u, 0, back, LENGTH, &got), OK);
    CHECK_INT(got, LENGTH);
    CHECK(memcmp(bytes, back, LENGTH) == 0);
    store_upload_close(u);
    store_close(s);
    free(bytes);
    free(back);
}

static void writes_back_early(void)
{
    struct store *s = open_store();
    struct store_upload *u;
    str uuid = fresh_uuid();
    CHECK_INT(store_upload_open(s, uuid, 0, &u), OK);
    CHECK_INT(write_long(u), OK);
    CHECK_INT(calls[RANGE], 5 + 3);
    store_upload_close(u);

    /* A kernel without the call. */
    CHECK_INT(store_upload_open(s, uuid, 0, &u), OK);
    errors[RANGE] = ENOSYS;
    CHECK_INT(write_long(u), OK);
    store_upload_close(u);

    CHECK_INT(store_upload_open(s, uuid, 0, &u), OK);
    errors[RANGE] = EIO;
    CHECK_INT(write_long(u), ERR_IO);
    check_poisoned(s, u, uuid, ERR_IO);
    store_close(s);
}

TESTS({"creates the tree", creates_the_tree}, {"refuses to open", refuses_to_open},
      {"round trip", round_trip}, {"small blob costs no more", small_blob_costs_no_more},
      {"neighbours share a directory", neighbours_share_a_directory},
      {"resumes at the acknowledged offset", resumes_at_the_acknowledged_offset},
      {"syncs what changed", syncs_what_changed},
      {"misses what is not there", misses_what_is_not_there}, {"reads back", reads_back},
      {"survives a full disk", survives_a_full_disk}, {"failed sync poisons", failed_sync_poisons},
      {"failed directory fails all in flight", failed_directory_fails_all_in_flight},
      {"allocates ahead", allocates_ahead}, {"writes in pieces", writes_in_pieces},
      {"writes back early", writes_back_early})
