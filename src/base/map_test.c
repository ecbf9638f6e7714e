#include "base/map.h"
#include "base/test.h"

static int values[5000];

static void sets_gets_removes(void)
{
    struct map m = {0};
    char key[16];
    for (int i = 0; i < 5000; i++) {
        snprintf(key, sizeof key, "key%d", i);
        CHECK(map_set(&m, str_from(key), &values[i]) == NULL);
    }
    CHECK_INT(m.n, 5000);
    CHECK(map_get(&m, STR("key4321")) == &values[4321]);
    CHECK(map_get(&m, STR("key5000")) == NULL);
    CHECK(map_set(&m, STR("key1"), &values[2]) == &values[1]);
    for (int i = 0; i < 5000; i += 2) {
        snprintf(key, sizeof key, "key%d", i);
        CHECK(map_remove(&m, str_from(key)) != NULL);
        CHECK(map_remove(&m, str_from(key)) == NULL);
    }
    CHECK_INT(m.n, 2500);
    CHECK(map_get(&m, STR("key3")) == &values[3]);
    map_release(&m);
    CHECK(map_get(&m, STR("key3")) == NULL);
}

static void keys_are_bytes(void)
{
    struct map m = {0};
    map_set(&m, STR("a\0b"), &values[0]);
    CHECK(map_get(&m, STR("a\0c")) == NULL);
    CHECK(map_get(&m, STR("a\0b")) == &values[0]);
    map_set(&m, STR(""), &values[1]);
    CHECK(map_get(&m, str_make(NULL, 0)) == &values[1]);
    map_release(&m);
}

TESTS({"sets, gets, removes", sets_gets_removes}, {"keys are bytes", keys_are_bytes})
