#include "api/platform_help.h"
#include "base/test.h"

static void agents(void)
{
    ARENA_CLEANUP struct arena a = {0};
    str s = STR("kept");
    CHECK(platform_of_agent(&a, STR("docker/20.10 go/go1.19 os/linux arch/arm64 UpstreamClient(x)"),
                            &s));
    CHECK_STR(s, "linux/arm64");
    s = STR("kept");
    CHECK(!platform_of_agent(&a, STR("skopeo/1.9.3"), &s));
    CHECK(!platform_of_agent(&a, STR("x os/linux"), &s));
    CHECK(!platform_of_agent(&a, STR("x os/\r\nlinux arch/amd64"), &s));
    CHECK(!platform_of_agent(&a, str_make(NULL, 0), &s));
    CHECK_STR(s, "kept");
    CHECK(platform_of_agent(&a, STR("d os/linux arch/amd64\"evil"), &s));
    CHECK_STR(s, "linux/amd64");
}

static void platforms(void)
{
    CHECK(platform_serves(STR("linux/arm"), STR("linux/arm")));
    CHECK(platform_serves(STR("linux/arm/v7"), STR("linux/arm")));
    CHECK(!platform_serves(STR("linux/arm64"), STR("linux/arm")));
    CHECK(!platform_serves(STR("linux/ppc64le"), STR("linux/ppc64")));
    CHECK(!platform_serves(STR("linux/arm"), STR("linux/arm64")));
}

TESTS({"agents", agents}, {"platforms", platforms})
