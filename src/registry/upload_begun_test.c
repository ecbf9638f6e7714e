#include "registry/upload_begun.h"

#include "base/test.h"

static str uuid_n(unsigned n, char text[UUID_LEN])
{
    uint8_t id[16] = {0};
    id[15] = (uint8_t)n;
    return uuid_format(id, text);
}

/* The n-th upload, in this repository, last touched at `touched_us`. */
static void add(struct upload_begun_table *t, unsigned n, const char *full_name, int64_t touched_us)
{
    struct upload_begun begun = {.algorithm = DIGEST_sha512,
                                 .full_name = str_from(full_name),
                                 .principal = STR("ann"),
                                 .begun_us = 1,
                                 .touched_us = touched_us};
    uuid_n(n, begun.uuid);
    upload_begun_add(t, &begun);
}

static bool has(struct upload_begun_table *t, unsigned n)
{
    char text[UUID_LEN];
    return upload_begun_has(t, uuid_n(n, text));
}

/* The digits name those that are idle since `until_us`, in order. */
static void check_idle(struct upload_begun_table *t, int64_t until_us, size_t skip, size_t max,
                       const char *want)
{
    char uuids[8][UUID_LEN], got[9] = "";
    size_t n = upload_begun_idle(t, until_us, skip, uuids, max);
    for (size_t i = 0; i < n; i++)
        got[i] = uuids[i][UUID_LEN - 1];
    CHECK_STR(str_from(got), want);
}

static void belongs_to_its_owner(void)
{
    struct upload_begun_table *t = upload_begun_table_new();
    struct upload_begun found;
    char text[UUID_LEN];
    char name[] = "team/app"; /* the table keeps a copy */
    add(t, 1, name, 10);
    name[0] = 'T';
    str uuid = uuid_n(1, text);
    CHECK(upload_begun_find(t, uuid, STR("team/app"), STR("ann"), &found));
    CHECK_INT(found.algorithm, DIGEST_sha512);
    CHECK_INT(found.begun_us, 1);
    CHECK_INT(found.touched_us, 10);
    CHECK(!upload_begun_find(t, uuid, STR("team/ap"), STR("ann"), &found));
    CHECK(!upload_begun_find(t, uuid, STR("team/app"), STR("bob"), &found));
    CHECK(!upload_begun_find(t, uuid_n(2, text), STR("team/app"), STR("ann"), &found));
    CHECK(has(t, 1) && !has(t, 2));
    upload_begun_table_free(t);
}

static void ends_once(void)
{
    struct upload_begun_table *t = upload_begun_table_new();
    char text[UUID_LEN];
    for (unsigned n = 1; n <= 3; n++)
        add(t, n, "team/app", n);
    CHECK(upload_begun_remove(t, uuid_n(2, text)));
    CHECK(!upload_begun_remove(t, uuid_n(2, text)));
    CHECK(!has(t, 2));
    check_idle(t, 9, 0, 8, "13");
    CHECK(upload_begun_remove(t, uuid_n(3, text)));
    CHECK(upload_begun_remove(t, uuid_n(1, text)));
    check_idle(t, 9, 0, 8, "");
    add(t, 4, "team/app", 4);
    check_idle(t, 9, 0, 8, "4");
    upload_begun_table_free(t);
}

static void the_longest_idle_expire(void)
{
    struct upload_begun_table *t = upload_begun_table_new();
    char text[UUID_LEN];
    for (unsigned n = 1; n <= 4; n++)
        add(t, n, "team/app", n);
    check_idle(t, 0, 0, 8, "");
    check_idle(t, 3, 0, 8, "123");
    check_idle(t, 3, 0, 2, "12");
    check_idle(t, 3, 1, 8, "23");
    check_idle(t, 3, 3, 8, "");
    upload_begun_touch(t, uuid_n(1, text), 7);
    upload_begun_touch(t, uuid_n(8, text), 7); /* not here */
    check_idle(t, 9, 0, 8, "2341");
    CHECK(!upload_begun_expire(t, uuid_n(1, text), 6));
    CHECK(upload_begun_expire(t, uuid_n(1, text), 7));
    CHECK(!upload_begun_expire(t, uuid_n(1, text), 7));
    check_idle(t, 9, 0, 8, "234");
    upload_begun_table_free(t);
}

static void all_are_taken(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct upload_begun_table *t = upload_begun_table_new();
    struct upload_begun one, two, none;
    char text[UUID_LEN];
    add(t, 1, "team/one", 1);
    add(t, 2, "team/two", 2);
    upload_begun_touch(t, uuid_n(1, text), 3);
    CHECK(upload_begun_take(t, &a, &two));
    CHECK(!has(t, 2));
    CHECK(upload_begun_take(t, &a, &one));
    CHECK(!upload_begun_take(t, &a, &none));
    upload_begun_table_free(t);
    CHECK_STR(two.full_name, "team/two");
    CHECK_STR(one.full_name, "team/one");
    CHECK_STR(one.principal, "ann");
    CHECK_INT(one.touched_us, 3);
    CHECK(str_eq(str_make(one.uuid, UUID_LEN), uuid_n(1, text)));
}

TESTS({"an upload belongs to its owner", belongs_to_its_owner}, {"it ends once", ends_once},
      {"those that are idle for longest expire", the_longest_idle_expire},
      {"all are taken, with their texts", all_are_taken})
