/* What "berth fsck" prints: a line for each finding and a last one with the numbers, or JSON. */
#pragma once

#include "registry/check.h"

#include <stdio.h>

struct fsck_report {
    FILE *out;
    bool json, repair;
    uint64_t printed; /* findings so far */
};

void fsck_report_begin(struct fsck_report *r);
void fsck_report_finding(struct fsck_report *r, const struct finding *f);
/* `complete` false: it could not be checked to the end. */
void fsck_report_end(struct fsck_report *r, const struct check *c, bool complete);
