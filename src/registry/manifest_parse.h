/* Reading a manifest: what it is and what it refers to (OCI image specification, manifest.md,
 * image-index.md; Docker image manifest version 2, schema 2).
 *
 * Strict in structure, blind to content: unknown media types of configs, layers and artifacts and
 * unknown members are never refused. Pure: takes the bytes, touches no database. */
#pragma once

#include "base/err.h"
#include "blob/digest.h"

/* X(name, media type, is an index, may omit mediaType in the body) */
#define MANIFEST_TYPE_TABLE(X)                                                            \
    X(OCI_IMAGE, "application/vnd.oci.image.manifest.v1+json", false, true)               \
    X(OCI_INDEX, "application/vnd.oci.image.index.v1+json", true, true)                   \
    X(DOCKER_IMAGE, "application/vnd.docker.distribution.manifest.v2+json", false, false) \
    X(DOCKER_LIST, "application/vnd.docker.distribution.manifest.list.v2+json", true, false)

enum manifest_type {
#define X(name, text, is_index, may_omit) MANIFEST_##name,
    MANIFEST_TYPE_TABLE(X)
#undef X
        MANIFEST_TYPE_COUNT
};

str manifest_type_text(enum manifest_type t);
bool manifest_type_is_index(enum manifest_type t);
NODISCARD bool manifest_type_parse(str media_type, enum manifest_type *ret);

/* One descriptor that must lead somewhere. */
struct manifest_ref {
    struct digest digest;
    uint64_t size_bytes;
    str media_type;
    bool is_manifest; /* a child manifest; otherwise a blob */
    bool optional;    /* nondistributable: the content may live elsewhere */
};

struct manifest {
    enum manifest_type type;
    str artifact_type; /* as a referrers list shows it: artifactType, else an image's config type;
                          p == NULL without */
    bool has_subject;
    struct digest subject;
    str annotations;           /* JSON object; p == NULL without, or without a subject */
    struct manifest_ref *refs; /* in order of appearance */
    size_t ref_n;
};

/* `content_type` is the request's, without parameters, p == NULL when absent. Strings in *ret live
 * in the arena. ERR_MANIFEST_INVALID with `why` naming the member that is wrong. */
NODISCARD enum err manifest_parse(struct arena *a, str bytes, str content_type,
                                  struct manifest *ret, struct error *why);
