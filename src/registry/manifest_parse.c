#include "registry/manifest_parse.h"

#include "base/hex.h"
#include "json/read.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
    str text;
    bool is_index, may_omit;
} types[MANIFEST_TYPE_COUNT] = {
#define X(name, text, is_index, may_omit) [MANIFEST_##name] = {STR_INIT(text), is_index, may_omit},
    MANIFEST_TYPE_TABLE(X)
#undef X
};

/* Layers that may live elsewhere: their absence is no error. */
static const str nondistributable[] = {
    STR_INIT("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
    STR_INIT("application/vnd.oci.image.layer.nondistributable.v1.tar"),
    STR_INIT("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"),
    STR_INIT("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"),
};

/* What parsing works on, so that each step says only what is wrong. */
struct parsing {
    struct arena *arena;
    struct error *why;
    struct manifest *out;
    size_t body_bytes;
};

enum { DESCRIPTOR_BYTES_MIN = 40 }; /* {"mediaType":"a/b","digest":"a:b","size":0} has more */

#define invalid(p, ...) error_set((p)->arena, (p)->why, ERR_MANIFEST_INVALID, __VA_ARGS__)

str manifest_type_text(enum manifest_type t)
{
    return types[t].text;
}

bool manifest_type_is_index(enum manifest_type t)
{
    return types[t].is_index;
}

bool manifest_type_parse(str media_type, enum manifest_type *ret)
{
    for (size_t t = 0; t < MANIFEST_TYPE_COUNT; t++) {
        if (str_eq(types[t].text, media_type)) {
            *ret = (enum manifest_type)t;
            return true;
        }
    }
    return false;
}

/* Readers that fold case (Go's, which most clients use) take a member for another's namesake: they
 * and we would be told two stories about one digest. */

static const char *const root_names[] = {"schemaVersion", "mediaType",   "artifactType",
                                         "config",        "layers",      "manifests",
                                         "subject",       "annotations", NULL};
static const char *const descriptor_names[] = {
    "mediaType", "digest", "size", "urls", "data", "artifactType", "platform", "annotations", NULL};

/* The next character of *s, folded as for comparing with ASCII letters: two others fold to them. */
static char next_folded(str *s)
{
    static const str long_s = STR_INIT("\u017f"), kelvin = STR_INIT("\u212a");
    bool is_s = str_starts(*s, long_s), is_k = str_starts(*s, kelvin);
    char c = s->p[0];
    *s = str_skip(*s, is_s ? long_s.n : is_k ? kelvin.n : 1);
    if (is_s || is_k)
        return is_s ? 's' : 'k';
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool folds_to(str key, str name)
{
    while (key.n > 0 && name.n > 0)
        if (next_folded(&key) != next_folded(&name))
            return false;
    return key.n == name.n;
}

static enum err check_names(struct parsing *p, const char *where, const json_t *object,
                            const char *const *names)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        for (const char *const *name = names; *name; name++)
            if (strcmp(key, *name) != 0 && folds_to(str_from(key), str_from(*name)))
                return invalid(p, "%s has a member \"%s\", which some readers take for %s", where,
                               key, *name);
    }
    return OK;
}

/* One half of a media type (RFC 6838 4.2, restricted-name). */
static bool restricted_name(str s)
{
    if (s.n == 0 || s.n > 127)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && (i == 0 || !memchr("!#$&-^_.+", c, 9)))
            return false;
    }
    return true;
}

static bool media_type_is_valid(str s)
{
    str type, subtype;
    return str_cut(s, '/', &type, &subtype) && restricted_name(type) && restricted_name(subtype);
}

static bool is_nondistributable(str media_type)
{
    for (size_t i = 0; i < sizeof nondistributable / sizeof nondistributable[0]; i++) {
        if (str_eq(nondistributable[i], media_type))
            return true;
    }
    return false;
}

/* The optional `data` member must be the content itself (image specification, descriptor.md). */
static enum err check_data(struct parsing *p, const char *where, const json_t *object,
                           const struct manifest_ref *ref)
{
    const json_t *data = json_member(object, "data");
    str text, bytes;
    if (!data)
        return OK;
    if (!json_member_str(object, "data", &text) || !base64_decode(p->arena, text, &bytes))
        return invalid(p, "%s.data is not base64", where);
    if (bytes.n != ref->size_bytes)
        return invalid(p, "%s.data holds %zu bytes, but size says %llu", where, bytes.n,
                       (unsigned long long)ref->size_bytes);
    if (digest_algorithm(&ref->digest) != DIGEST_OTHER) {
        struct digest actual;
        digest_of(digest_algorithm(&ref->digest), bytes, &actual);
        if (!digest_eq(&actual, &ref->digest))
            return invalid(p, "%s.data does not match %s.digest", where, where);
    }
    return OK;
}

/* mediaType, digest, size and data of the descriptor `object`, called `where` in messages. */
static enum err read_descriptor(struct parsing *p, const char *where, const json_t *object,
                                struct manifest_ref *ret)
{
    struct manifest_ref ref = {0};
    str digest;
    int64_t size;
    if (!json_is_object(object))
        return invalid(p, "%s must be an object (a descriptor)", where);
    enum err e = check_names(p, where, object, descriptor_names);
    if (e)
        return e;
    if (!json_member_str(object, "mediaType", &ref.media_type))
        return invalid(p, "%s.mediaType is missing or not a string", where);
    if (!media_type_is_valid(ref.media_type))
        return invalid(p, "%s.mediaType is not a media type (type/subtype)", where);
    ref.media_type = arena_str(p->arena, ref.media_type);
    if (!json_member_str(object, "digest", &digest))
        return invalid(p, "%s.digest is missing or not a string", where);
    if (digest_parse(digest, true, &ref.digest))
        return invalid(p, "%s.digest is not a digest (algorithm:encoded)", where);
    if (!json_member_int(object, "size", &size) || size < 0)
        return invalid(p, "%s.size is missing or not a whole number of bytes", where);
    ref.size_bytes = (uint64_t)size;
    e = check_data(p, where, object, &ref);
    if (e)
        return e;
    *ret = ref;
    return OK;
}

/* Docker's foreign layers must say where they are (image manifest version 2, schema 2: `urls`). */
static enum err check_urls(struct parsing *p, const char *where, const json_t *object)
{
    const json_t *urls = json_member(object, "urls");
    size_t n = json_array_size(urls);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(urls, i);
        str url = str_make(json_string_value(item), json_string_length(item));
        bool web = str_starts(url, STR("http://")) || str_starts(url, STR("https://"));
        if (!web || str_find(url, '#') < url.n)
            return invalid(p, "%s.urls[%zu] is not an http or https URL without a fragment", where,
                           i);
    }
    return n ? OK : invalid(p, "%s.urls is missing: a foreign layer must say where it is", where);
}

static enum err add_ref(struct parsing *p, const char *where, const json_t *object, bool in_index)
{
    struct manifest_ref ref;
    enum manifest_type type;
    enum err e = read_descriptor(p, where, object, &ref);
    if (e)
        return e;
    /* An index may list content of other types (build caches do): those are blobs. */
    ref.is_manifest = in_index && manifest_type_parse(ref.media_type, &type);
    ref.optional = !in_index && is_nondistributable(ref.media_type);
    if (ref.optional && str_eq(ref.media_type, nondistributable[0]))
        e = check_urls(p, where, object);
    if (e)
        return e;
    p->out->refs[p->out->ref_n++] = ref;
    return OK;
}

/* Memory for the references of a list and one more: of those that can be there, as a list may hold
 * a great many things that are none. */
static struct manifest_ref *make_refs(struct parsing *p, const json_t *list)
{
    size_t n = json_array_size(list) + 1, most = p->body_bytes / DESCRIPTOR_BYTES_MIN + 1;
    return ARENA_ARRAY(p->arena, n < most ? n : most, struct manifest_ref);
}

static enum err add_list(struct parsing *p, const char *name, const json_t *list, bool in_index)
{
    size_t n = json_array_size(list);
    for (size_t i = 0; i < n; i++) {
        char where[40];
        snprintf(where, sizeof where, "%s[%zu]", name, i);
        enum err e = add_ref(p, where, json_array_get(list, i), in_index);
        if (e)
            return e;
    }
    return OK;
}

static enum err read_image(struct parsing *p, const json_t *root)
{
    const json_t *config = json_member(root, "config"), *layers = json_member(root, "layers");
    if (json_member(root, "manifests"))
        return invalid(p, "an image manifest must not have the member manifests");
    if (!config)
        return invalid(p, "config is missing");
    if (!json_is_array(layers))
        return invalid(p, "layers is missing or not an array");
    p->out->refs = make_refs(p, layers);
    enum err e = add_ref(p, "config", config, false);
    if (!e)
        e = add_list(p, "layers", layers, false);
    if (!e && !p->out->artifact_type.p)
        p->out->artifact_type = p->out->refs[0].media_type;
    return e;
}

static enum err read_index(struct parsing *p, const json_t *root)
{
    const json_t *manifests = json_member(root, "manifests");
    if (json_member(root, "config") || json_member(root, "layers"))
        return invalid(p, "an index must not have the members config or layers");
    if (!json_is_array(manifests))
        return invalid(p, "manifests is missing or not an array");
    p->out->refs = make_refs(p, manifests);
    return add_list(p, "manifests", manifests, true);
}

/* The type is a function of the bytes: mediaType, or else the structure. The request's header must
 * agree, or readers could be told two stories about one digest (CVE-2021-41190). */
static enum err find_type(struct parsing *p, const json_t *root, str content_type)
{
    str declared = {0};
    enum manifest_type *type = &p->out->type;
    if (json_member_str(root, "mediaType", &declared)) {
        if (!manifest_type_parse(declared, type))
            return invalid(p,
                           "mediaType \"%.*s\" is not a manifest type this registry stores; OCI "
                           "images and indexes and Docker schema 2 manifests and lists are",
                           STR_ARG(str_first(declared, 200)));
    } else if (json_member(root, "mediaType")) {
        return invalid(p, "mediaType is not a string");
    } else {
        *type = json_member(root, "manifests") ? MANIFEST_OCI_INDEX : MANIFEST_OCI_IMAGE;
    }
    if (content_type.p && !str_eq_nocase(content_type, types[*type].text)) {
        if (declared.p)
            return invalid(p,
                           "the request's Content-Type is %.*s, but the manifest's mediaType is "
                           "%.*s",
                           STR_ARG(str_first(content_type, 200)), STR_ARG(declared));
        return invalid(p,
                       "the request's Content-Type is %.*s, but a manifest without mediaType "
                       "and with these members is %.*s",
                       STR_ARG(str_first(content_type, 200)), STR_ARG(types[*type].text));
    }
    return OK;
}

/* What a referrers list repeats. Malformed ones are left out of it: they never fail a push, and one
 * that is no string would make the whole list unreadable to clients that read it strictly. */
static void read_annotations(struct parsing *p, const json_t *root)
{
    const json_t *annotations = json_member(root, "annotations");
    if (!json_is_object(annotations))
        return;
    JSON_CLEANUP json_t *strings = json_copy((json_t *)annotations);
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(strings, next, key, value)
    {
        if (!json_is_string(value))
            json_object_del(strings, key);
    }
    char *text = json_dumps(strings, JSON_COMPACT);
    if (text)
        p->out->annotations = arena_str(p->arena, str_from(text));
    free(text);
}

static enum err read_common(struct parsing *p, const json_t *root)
{
    int64_t version;
    const json_t *subject = json_member(root, "subject");
    const json_t *artifact_type = json_member(root, "artifactType");
    if (!json_member_int(root, "schemaVersion", &version) || version != 2)
        return invalid(p, "schemaVersion must be 2%s",
                       json_member(root, "fsLayers") ? "; Docker schema 1 is not accepted" : "");
    if (artifact_type) {
        str text;
        if (!json_member_str(root, "artifactType", &text) || !media_type_is_valid(text))
            return invalid(p, "artifactType is not a media type (type/subtype)");
        p->out->artifact_type = arena_str(p->arena, text);
    }
    if (subject) {
        struct manifest_ref ref;
        enum err e = read_descriptor(p, "subject", subject, &ref);
        if (e)
            return e;
        p->out->has_subject = true;
        p->out->subject = ref.digest;
        read_annotations(p, root);
    }
    return OK;
}

enum err manifest_parse(struct arena *a, str bytes, str content_type, struct manifest *ret,
                        struct error *why)
{
    struct manifest manifest = {0};
    struct parsing p = {.arena = a, .why = why, .out = &manifest, .body_bytes = bytes.n};
    JSON_CLEANUP json_t *root = NULL;
    str reason;
    if (json_read(a, bytes, &root, &reason))
        return invalid(&p, "the manifest is not acceptable JSON: %.*s", STR_ARG(reason));
    if (!json_is_object(root))
        return invalid(&p, "the manifest must be a JSON object");
    enum err e = check_names(&p, "the manifest", root, root_names);
    if (!e)
        e = read_common(&p, root);
    if (!e)
        e = find_type(&p, root, content_type);
    if (!e)
        e = types[manifest.type].is_index ? read_index(&p, root) : read_image(&p, root);
    if (e)
        return e;
    *ret = manifest;
    return OK;
}
