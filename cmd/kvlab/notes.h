/* cmd/kvlab/notes.h: what was compared, for run.json: each setting with its load, the knobs in force and how
 * many of its trials are complete. */
#pragma once
#include "cmd/kvlab/trials.h"

struct note {
    struct note *next;
    const char *experiment, *id;
    const char *facts; // members of a JSON object
    uint32_t trials;
};

/* A trial of a setting is complete, its `trials`-th. The knobs in force are asked for at the first.
 * Context: parks. */
void note_trial(struct lab *lab, const char *experiment, const struct setting *s, uint32_t trials);
/* The same of what is no setting: `facts` as above, of the first time.  Context: parks. */
void note_run(struct lab *lab, const char *experiment, const char *id, uint32_t trials,
              const char *facts);
/* The objects, a comma between them.  Context: parks. */
void notes_to_json(struct lab *lab, struct rt_string *out);
