#include "base/buf.h"
#include "base/test.h"
#include "registry/manifest_parse.h"

#define D           "\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\""
#define CONFIG      "{\"mediaType\":\"a/config\",\"digest\":" D ",\"size\":0}"
#define LAYER(type) "{\"mediaType\":\"" type "\",\"digest\":" D ",\"size\":5}"
#define OCI         "\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
#define INDEX       "\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\","
#define IMAGE_TYPE  "application/vnd.oci.image.manifest.v1+json"
#define INDEX_TYPE  "application/vnd.oci.image.index.v1+json"

static struct arena arena;

static enum err parse(const char *text, const char *content_type, struct manifest *ret,
                      str *message)
{
    struct error why = {0};
    enum err e = manifest_parse(&arena, str_from(text), str_from(content_type), ret, &why);
    *message = why.message;
    return e;
}

static void refused(const char *text, const char *content_type, const char *part)
{
    struct manifest m;
    str message;
    CHECK_INT(parse(text, content_type, &m, &message), ERR_MANIFEST_INVALID);
    if (!str_contains(message, str_from(part)))
        test_fail(__FILE__, __LINE__, "\"%.*s\" does not say \"%s\"", STR_ARG(message), part);
}

static void image(void)
{
    struct manifest m;
    str message;
    CHECK_INT(
        parse("{" OCI "\"config\":" CONFIG ",\"layers\":[" LAYER("a/layer") "," LAYER(
                  "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd") "],"
                                                                                  "\"unknown\":{"
                                                                                  "\"x\":1}}",
              IMAGE_TYPE, &m, &message),
        OK);
    CHECK_INT(m.type, MANIFEST_OCI_IMAGE);
    CHECK_INT(m.ref_n, 3);
    CHECK(!m.refs[0].is_manifest && !m.refs[0].optional);
    CHECK_INT(m.refs[1].size_bytes, 5);
    CHECK(!m.refs[1].optional);
    CHECK(m.refs[2].optional);
    CHECK_STR(m.artifact_type, "a/config");
    CHECK(!m.has_subject);
}

static void image_without_media_type(void)
{
    struct manifest m;
    str message;
    const char *text = "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[]}";
    CHECK_INT(parse(text, IMAGE_TYPE, &m, &message), OK);
    CHECK_INT(parse(text, NULL, &m, &message), OK);
    CHECK_INT(m.type, MANIFEST_OCI_IMAGE);
    refused(text, INDEX_TYPE, "Content-Type");
    refused(text, "application/vnd.docker.distribution.manifest.v2+json", "Content-Type");
}

static void index_children(void)
{
    struct manifest m;
    str message;
    CHECK_INT(parse("{" INDEX "\"manifests\":[" LAYER(IMAGE_TYPE) "," LAYER(
                        "application/vnd.buildkit.cacheconfig.v0") "]}",
                    INDEX_TYPE, &m, &message),
              OK);
    CHECK(m.refs[0].is_manifest);
    CHECK(!m.refs[1].is_manifest);
    CHECK(m.artifact_type.p == NULL);
    CHECK_INT(parse("{" INDEX "\"manifests\":[]}", INDEX_TYPE, &m, &message), OK);
    CHECK_INT(m.ref_n, 0);
}

static void subject_and_type(void)
{
    struct manifest m;
    str message;
    CHECK_INT(parse("{" OCI "\"artifactType\":\"x/sbom\",\"config\":" CONFIG
                    ",\"layers\":[],\"subject\":" LAYER(IMAGE_TYPE) "}",
                    IMAGE_TYPE, &m, &message),
              OK);
    CHECK_STR(m.artifact_type, "x/sbom");
    CHECK(m.has_subject);
    CHECK_STR(digest_text(&arena, &m.subject),
              "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void refusals(void)
{
    static const struct {
        const char *text, *type, *part;
    } rows[] = {
        {"", NULL, "JSON"},
        {"[]", NULL, "object"},
        {"{}", NULL, "schemaVersion"},
        {"{\"schemaVersion\":1,\"fsLayers\":[]}", NULL, "schema 1"},
        {"{\"schemaVersion\":\"2\"}", NULL, "schemaVersion"},
        {"{\"schemaVersion\":2,\"schemaVersion\":2}", NULL, "duplicate"},
        {"{" OCI "\"config\":" CONFIG ",\"layers\":[]} x", IMAGE_TYPE, "JSON"},
        {"{" OCI "\"layers\":[]}", IMAGE_TYPE, "config is missing"},
        {"{" OCI "\"config\":" CONFIG "}", IMAGE_TYPE, "layers is missing"},
        {"{" OCI "\"config\":" CONFIG ",\"layers\":{}}", IMAGE_TYPE, "layers"},
        {"{" OCI "\"config\":[],\"layers\":[]}", IMAGE_TYPE, "config must be an object"},
        {"{" OCI "\"config\":" CONFIG ",\"layers\":[],\"manifests\":[]}", IMAGE_TYPE, "manifests"},
        {"{" INDEX "\"manifests\":[],\"layers\":[]}", INDEX_TYPE, "config or layers"},
        {"{" INDEX "\"manifests\":5}", INDEX_TYPE, "manifests"},
        {"{" OCI "\"config\":" CONFIG ",\"layers\":[]}", INDEX_TYPE, "Content-Type"},
        {"{" OCI "\"config\":" CONFIG ",\"layers\":[5]}", IMAGE_TYPE, "layers[0]"},
        {"{" OCI "\"config\":{\"digest\":" D ",\"size\":0},\"layers\":[]}", IMAGE_TYPE,
         "config.mediaType"},
        {"{" OCI "\"config\":{\"mediaType\":\"nope\",\"digest\":" D ",\"size\":0},\"layers\":[]}",
         IMAGE_TYPE, "config.mediaType"},
        {"{" OCI "\"config\":{\"mediaType\":\"a/b\",\"digest\":\"sha256:ABC\",\"size\":0},"
         "\"layers\":[]}",
         IMAGE_TYPE, "config.digest"},
        {"{" OCI "\"config\":{\"mediaType\":\"a/b\",\"digest\":" D ",\"size\":-1},\"layers\":[]}",
         IMAGE_TYPE, "config.size"},
        {"{" OCI "\"config\":{\"mediaType\":\"a/b\",\"digest\":" D ",\"size\":1.5},\"layers\":[]}",
         IMAGE_TYPE, "config.size"},
        {"{" OCI "\"config\":{\"mediaType\":\"a/b\",\"digest\":" D ",\"size\":2,\"data\":\"e30=\"},"
         "\"layers\":[]}",
         IMAGE_TYPE, "config.data does not match"},
        {"{" OCI "\"config\":{\"mediaType\":\"a/b\",\"digest\":" D ",\"size\":3,\"data\":\"e30=\"},"
         "\"layers\":[]}",
         IMAGE_TYPE, "config.data holds 2 bytes"},
        {"{" OCI "\"config\":{\"mediaType\":\"a/b\",\"digest\":" D ",\"size\":0,\"data\":\"!\"},"
         "\"layers\":[]}",
         IMAGE_TYPE, "base64"},
        {"{" OCI "\"config\":" CONFIG ",\"layers\":[],\"subject\":5}", IMAGE_TYPE, "subject"},
        {"{" OCI "\"config\":" CONFIG ",\"layers\":[],\"artifactType\":\"\"}", IMAGE_TYPE,
         "artifactType"},
        {"{\"schemaVersion\":2,\"mediaType\":\"application/json\"}", NULL, "mediaType"},
        {"{\"schemaVersion\":2,\"mediaType\":7}", NULL, "mediaType"},
        /* Namesakes to those who fold case, one of them with a long s. */
        {"{" OCI "\"config\":" CONFIG ",\"layers\":[],\"Layers\":[]}", IMAGE_TYPE,
         "the manifest has a member \"Layers\""},
        {"{" OCI "\"config\":" CONFIG ",\"layers\":[],\"layer\\u017f\":[]}", IMAGE_TYPE,
         "which some readers take for layers"},
        {"{" OCI "\"config\":" CONFIG ",\"layers\":[],\"MANIFESTS\":[]}", IMAGE_TYPE,
         "which some readers take for manifests"},
        {"{" OCI "\"config\":" CONFIG ",\"layers\":[{\"mediaType\":\"a/b\",\"digest\":" D
         ",\"size\":0,\"Digest\":" D "}]}",
         IMAGE_TYPE, "layers[0] has a member \"Digest\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        refused(rows[i].text, rows[i].type, rows[i].part);
    arena_release(&arena);
}

static void many_things_that_are_no_references(void)
{
    enum { MANY = 90000 };
    struct buf text = {.limit = SIZE_MAX};
    buf_add(&text, STR("{" OCI "\"config\":" CONFIG ",\"layers\":[1"));
    for (int i = 1; i < MANY; i++)
        buf_add(&text, STR(",1"));
    buf_add(&text, STR("]}"));
    struct manifest manifest;
    struct error why = {0};
    CHECK_INT(manifest_parse(&arena, buf_str(&text), STR(IMAGE_TYPE), &manifest, &why),
              ERR_MANIFEST_INVALID);
    CHECK(arena.total_bytes < 10 * buf_str(&text).n);
    buf_release(&text);
    arena_release(&arena);
}

static void foreign_digests(void)
{
    struct manifest m;
    str message;
    CHECK_INT(parse("{" OCI
                    "\"config\":{\"mediaType\":\"a/b\",\"digest\":\"blake9:abc\",\"size\":0},"
                    "\"layers\":[]}",
                    IMAGE_TYPE, &m, &message),
              OK);
    CHECK_INT(digest_algorithm(&m.refs[0].digest), DIGEST_OTHER);
    arena_release(&arena);
}

TESTS({"image", image}, {"image without mediaType", image_without_media_type},
      {"index children", index_children}, {"subject and type", subject_and_type},
      {"refusals", refusals},
      {"many things that are no references", many_things_that_are_no_references},
      {"foreign digests", foreign_digests})
