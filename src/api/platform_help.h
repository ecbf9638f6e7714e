/* Tells who pulls an image for a platform it does not have, before the client fails with less. */
#pragma once

#include "api/v2.h"

/* Adds a Warning header (OCI distribution specification, "Warnings") when the client names its
 * platform in User-Agent (docker: "os/linux arch/amd64") and the manifest's facts name others only.
 * Trouble on the way means no warning; only ERR_WOULD_BLOCK is told, on a reactor. */
NODISCARD enum err platform_warn(struct request *req, struct response *res,
                                 const struct v2_call *call, int64_t body);

/* The platform in a User-Agent, as os/architecture; false when it names none. Pure. */
NODISCARD bool platform_of_agent(struct arena *a, str agent, str *ret);

/* Whether content for `platform` (os/architecture[/variant]) is for `wanted` (os/architecture):
 * linux/arm/v7 is for linux/arm, linux/arm64 is not. Pure. */
NODISCARD bool platform_serves(str platform, str wanted);
