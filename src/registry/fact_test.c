#include "base/test.h"
#include "registry/fact.h"

#include <stdlib.h>

#define D "\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\""

static struct arena arena;
static struct facts facts;

static void read_facts(const char *text, const char *config)
{
    struct manifest manifest;
    struct error why = {0};
    CHECK_INT(manifest_parse(&arena, str_from(text), str_make(NULL, 0), &manifest, &why), OK);
    facts_read(&arena, &manifest, str_from(text), str_from(config), &facts);
}

static const char *value(const char *key)
{
    for (size_t i = 0; i < facts.n; i++) {
        if (str_eq(facts.items[i].key, str_from(key)))
            return arena_cstr(&arena, facts.items[i].value);
    }
    return "(none)";
}

static const char image[] =
    "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"a/config\",\"digest\":" D
    ",\"size\":0},\"layers\":[],\"annotations\":{\"x\":\"1\",\"n\":7}}";

static void of_an_image(void)
{
    read_facts(image, "{\"os\":\"linux\",\"architecture\":\"arm64\",\"variant\":\"v8\","
                      "\"created\":\"2026-01-01T00:00:00Z\","
                      "\"config\":{\"Labels\":{\"a.b\":\"c\",\"bad\":null}}}");
    CHECK_STR(str_from(value("platform")), "linux/arm64/v8");
    CHECK_STR(str_from(value("created")), "2026-01-01T00:00:00Z");
    CHECK_STR(str_from(value("label.a.b")), "c");
    CHECK_STR(str_from(value("annotation.x")), "1");
    CHECK_STR(str_from(value("config.type")), "a/config");
    CHECK_INT(facts.n, 5);
    arena_release(&arena);
}

static void of_an_index(void)
{
    read_facts("{\"schemaVersion\":2,\"manifests\":["
               "{\"mediaType\":\"a/b\",\"digest\":" D ",\"size\":1,"
               "\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}},"
               "{\"mediaType\":\"a/b\",\"digest\":" D ",\"size\":1,\"platform\":{\"os\":5}}]}",
               NULL);
    CHECK_STR(str_from(value("platform")), "linux/amd64");
    CHECK_INT(facts.n, 1);
    arena_release(&arena);
}

static void malformed_configs_are_left_out(void)
{
    static const char *const configs[] = {
        "", "[]", "{", "{\"config\":{\"Labels\":[1]}}", "7", "{\"os\":\"linux\"}"};
    for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
        read_facts(image, configs[i]);
        CHECK_INT(facts.n, 2);
    }
    arena_release(&arena);
}

static void bounds(void)
{
    struct manifest manifest;
    struct error why = {0};
    size_t room = 400 * 1024;
    char *text = malloc(room);
    int n =
        snprintf(text, room, "{\"schemaVersion\":2,\"manifests\":[],\"annotations\":{\"long\":\"");
    memset(text + n, 'x', FACT_VALUE_MAX + 1);
    n += FACT_VALUE_MAX + 1;
    n += snprintf(text + n, room - (size_t)n, "\"");
    for (int i = 0; i < 1000; i++)
        n += snprintf(text + n, room - (size_t)n, ",\"k%d\":\"v\"", i);
    n += snprintf(text + n, room - (size_t)n, "}}");
    CHECK_INT(manifest_parse(&arena, str_make(text, (size_t)n), str_make(NULL, 0), &manifest, &why),
              OK);
    facts_read(&arena, &manifest, str_make(text, (size_t)n), str_make(NULL, 0), &facts);
    CHECK_INT(facts.n, FACTS_MAX);
    CHECK_STR(str_from(value("annotation.long")), "(none)");
    free(text);
    arena_release(&arena);
}

TESTS({"of an image", of_an_image}, {"of an index", of_an_index},
      {"malformed configs are left out", malformed_configs_are_left_out}, {"bounds", bounds})
