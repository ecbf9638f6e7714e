#include "base/test.h"
#include "blob/store_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *uuid_a = "00000000-0000-4000-8000-00000000000a";

struct fixture {
    struct arena a;
    str dir;
    struct store *store;
};

static struct fixture fixture_open(const char *name)
{
    struct fixture f = {0};
    struct error why = {0};
    f.dir = arena_printf(&f.a, "%s/%s", test_dir(), name);
    if (store_open(&f.store, f.dir, &f.a, &why)) {
        printf("Bail out! %.*s\n", STR_ARG(why.message));
        exit(99);
    }
    return f;
}

static void fixture_close(struct fixture *f)
{
    store_close(f->store);
    arena_release(&f->a);
}

static str publish(struct fixture *f, const char *content)
{
    struct store_upload *u;
    char *key = arena_alloc(&f->a, STORE_KEY_LEN);
    CHECK_INT(store_upload_open(f->store, str_from(uuid_a), 0, &u), OK);
    CHECK_INT(store_upload_write(u, 0, str_from(content)), OK);
    CHECK_INT(store_upload_publish(u, strlen(content), key), OK);
    store_upload_close(u);
    CHECK_INT(store_upload_discard(f->store, str_from(uuid_a)), OK);
    return str_make(key, STORE_KEY_LEN);
}

static void write_file(struct fixture *f, const char *path)
{
    int fd =
        open(arena_printf(&f->a, "%.*s/%s", STR_ARG(f->dir), path).p, O_WRONLY | O_CREAT, 0600);
    CHECK(fd >= 0 && write(fd, "stray", 5) == 5);
    close(fd);
}

static void tells_sizes(void)
{
    struct fixture f = fixture_open("sizes");
    uint64_t n = 0;
    str key = publish(&f, "content");
    CHECK_INT(store_blob_stat(f.store, key, &n), OK);
    CHECK_INT(n, 7);
    CHECK_INT(store_blob_stat(f.store, STR("00112233445566778899aabbccddeeff"), &n), ERR_NOT_FOUND);
    CHECK_INT(store_blob_stat(f.store, STR("../../etc/passwd"), &n), ERR_NOT_FOUND);
    CHECK_INT(store_upload_stat(f.store, str_from(uuid_a), &n), ERR_NOT_FOUND);
    write_file(&f, "uploads/00000000-0000-4000-8000-00000000000a");
    CHECK_INT(store_upload_stat(f.store, str_from(uuid_a), &n), OK);
    CHECK_INT(n, 5);
    fixture_close(&f);
}

static void quarantines(void)
{
    struct fixture f = fixture_open("quarantine");
    uint64_t n;
    str key = publish(&f, "rotten");
    CHECK_INT(store_blob_quarantine(f.store, key), OK);
    CHECK_INT(store_blob_stat(f.store, key, &n), ERR_NOT_FOUND);
    struct stat st;
    str path = arena_printf(&f.a, "%.*s/quarantine/%.*s", STR_ARG(f.dir), STR_ARG(key));
    CHECK(stat(path.p, &st) == 0 && st.st_size == 6);
    CHECK_INT(store_blob_quarantine(f.store, key), OK); /* again: nothing to move */
    fixture_close(&f);
}

struct seen {
    size_t proper, other;
    uint64_t bytes;
    enum err stop;
};

static enum err count(void *arg, const struct store_entry *entry)
{
    struct seen *seen = arg;
    *(entry->is_proper ? &seen->proper : &seen->other) += 1;
    seen->bytes += entry->size_bytes;
    CHECK(entry->changed_us > 0);
    return seen->stop;
}

static void lists(void)
{
    struct fixture f = fixture_open("lists");
    publish(&f, "one");
    publish(&f, "three");
    write_file(&f, "blobs/00/11112233445566778899aabbccddeeff"); /* a key, but not of this folder */
    write_file(&f, "blobs/ff/note.txt");
    CHECK(
        mkdir(
            arena_printf(&f.a, "%.*s/blobs/ab/ab112233445566778899aabbccddeeff", STR_ARG(f.dir)).p,
            0700) == 0);
    struct seen seen = {0};
    for (unsigned i = 0; i < STORE_SHARDS; i++)
        CHECK_INT(store_list_blobs(f.store, i, count, &seen), OK);
    CHECK_INT(seen.proper, 2);
    CHECK_INT(seen.other, 3);

    seen = (struct seen){0};
    write_file(&f, "uploads/00000000-0000-4000-8000-00000000000b");
    write_file(&f, "uploads/x.new");
    CHECK_INT(store_list_uploads(f.store, count, &seen), OK);
    CHECK_INT(seen.proper, 1);
    CHECK_INT(seen.other, 1);
    seen = (struct seen){.stop = ERR_BUSY};
    CHECK_INT(store_list_uploads(f.store, count, &seen), ERR_BUSY);
    CHECK_INT(seen.proper + seen.other, 1);
    fixture_close(&f);
}

static void holds(void)
{
    struct fixture f = fixture_open("holds");
    struct error why = {0};
    int first = -1, second = -1, unlinker = -1;
    CHECK_INT(store_hold(f.dir, &f.a, &first, &why), OK);
    CHECK_INT(store_hold(f.dir, &f.a, &second, &why), OK);
    CHECK_INT(store_hold_exclude(f.store, &unlinker), ERR_BUSY);
    close(first);
    CHECK_INT(store_hold_exclude(f.store, &unlinker), ERR_BUSY);
    close(second);
    CHECK_INT(store_hold_exclude(f.store, &unlinker), OK);
    close(unlinker);
    CHECK_INT(store_hold(f.dir, &f.a, &first, &why), OK);
    close(first);
    CHECK(store_hold(STR("/nowhere/at/all"), &f.a, &first, &why) != OK);
    CHECK(str_contains(why.message, STR("/nowhere/at/all/hold")));
    fixture_close(&f);
}

TESTS({"tells sizes", tells_sizes}, {"quarantines", quarantines}, {"lists", lists},
      {"holds", holds})
