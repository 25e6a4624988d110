/* checkpoint.h: what torch.save writes, both ways it has done so: since PyTorch 1.6 a ZIP
 * archive with the pickle data.pkl and a file data/KEY for each storage; before, a stream
 * of five pickles (a magic number, a version, the machine, the object, the storages'
 * keys) and then the storages one after another.
 *
 *     sm_checkpoint c;
 *     if (sm_checkpoint_open(path, &mapped, &c, &err) != SM_OK) ...
 *     walk(c.value);                        (see pickle.h)
 *     sm_checkpoint_close(&c);
 *
 * All is checked before anything is handed out: values are data and finitely deep,
 * tensors lie within their storages, storages within the file, none over another.
 */
#ifndef SM_IO_CHECKPOINT_H
#define SM_IO_CHECKPOINT_H

#include "io/mapped.h"
#include "io/pickle.h"

typedef struct sm_checkpoint {
    sm_pickle pickle; /* its storages are one for each key */
    sm_value *value;
} sm_checkpoint;

/* Whether the bytes begin as a checkpoint of one of the kinds does. */
bool sm_checkpoint_looks_so(const sm_mapped *file);
/* Everything points into the mapping. On failure *c is empty; sm_checkpoint_close is
 * allowed on it. */
sm_status sm_checkpoint_open(const char *path, const sm_mapped *file, sm_checkpoint *c,
                             sm_error *err);
void sm_checkpoint_close(sm_checkpoint *c);

#endif
